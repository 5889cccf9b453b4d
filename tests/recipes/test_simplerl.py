"""SimpleRL: what its arms are, the published setting at node8, its reward and its warm-ups."""

import csv

import pytest

from common.checks.warmup import check_warmup
from common.config import ROOT, STEPS_KEY, choices, compose_run, leaves, recipe_folder
from common.results.claims import load_claims
from common.results.paper import load_paper
from common.rewards.registry import get_grader
from common.rewards.rule import KEY, Rules
from common.rewards.verdict import Outcome
from common.stages.warmup import teacher
from data.arithmetic_chain import Chain
from data.chain_styles import Word, solution
from tests.composed import composed

FOLDER = recipe_folder("simplerl")
SCALES = choices(FOLDER, "scale")
ACTOR = "actor_rollout_ref.actor"
TABLE = ROOT / "../shared/papers/tables/simplerl.csv"
FIVE = ("aime24", "math500", "amc23", "minerva", "olympiadbench")


def arm(variant="zero", scale="node8"):
    return composed("simplerl", scale, variant)


# --- the arms ---------------------------------------------------------------------------------

# At micro rates are swept for each arm; at both scales the policy of every arm has as many updates.
OWN = {
    ("micro", "warmup_self"): {f"{ACTOR}.optim.lr": 1e-4},
    ("micro", "warmup_easy"): {f"{ACTOR}.optim.lr": 1e-4},
    ("micro", "critic_warmup"): {STEPS_KEY: 25},
    ("node8", "critic_warmup"): {STEPS_KEY: 165},
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("variant", "changed"),
    [
        ("warmup_foreign", {"recipe.warmup": "foreign"}),
        ("warmup_self", {"recipe.warmup": "self"}),
        ("warmup_easy", {"recipe.warmup": "easy"}),
        ("warmup_dataset", {"recipe.warmup": "dataset"}),
        ("sft_dataset", {"recipe.warmup": "dataset", "recipe.method": "sft"}),
        ("sft_self", {"recipe.warmup": "self", "recipe.method": "sft"}),
        ("critic_warmup", {"trainer.critic_warmup": 6}),
        ("random_reward", {f"{KEY}.reward_kwargs.grader": "recipes.simplerl.task:random"}),
    ],
)
def test_an_arm_is_its_delta(scale, variant, changed):
    zero, other = (dict(leaves(arm(v, scale).config)) for v in ("zero", variant))
    differing = {k: other[k] for k in other if zero.get(k) != other[k]}
    assert differing == changed | {"recipe.variant": variant} | OWN.get((scale, variant), {})


def test_the_published_prompt_is_the_one_difference_of_its_arm():
    plain, published = (arm(v).config for v in ("warmup_foreign", "warmup_foreign_prompt"))
    one, other = dict(leaves(plain)), dict(leaves(published))
    assert {k for k in other if one.get(k) != other[k]} == {
        "recipe.variant",
        "recipe.model",
        "recipe.data.options.template",
    }
    model = arm("warmup_foreign_prompt").recipe.models[published["recipe"]["model"]]
    assert model.hub == arm().recipe.models["simplerl"].hub
    assert (FOLDER / model.chat_template).read_text().find("im_start") == -1


def test_node8_is_the_published_setting():
    run = arm()
    for key, value in {
        "algorithm.adv_estimator": "gae",
        "algorithm.gamma": 1.0,
        "algorithm.lam": 0.95,
        "algorithm.use_kl_in_reward": True,
        "algorithm.kl_penalty": "kl",
        "critic.enable": True,
        "critic.optim.lr": 9e-6,
        "critic.optim.clip_grad": 1.0,
        "critic.cliprange_value": 0.2,
        f"{ACTOR}.use_kl_loss": False,
        f"{ACTOR}.optim.lr": 5e-7,
        f"{ACTOR}.optim.clip_grad": 1.0,
        f"{ACTOR}.clip_ratio": 0.2,
        f"{ACTOR}.ppo_epochs": 1,
        "actor_rollout_ref.rollout.n": 8,
        "actor_rollout_ref.rollout.temperature": 0.6,
        "data.train_batch_size": 1024,
        "data.max_prompt_length": 1024,
        "data.max_response_length": 3000,
        "trainer.critic_warmup": 0,
        "trainer.save_freq": 4,
        STEPS_KEY: 160,
    }.items():
        assert run.get(key) == value, key
    assert run.get("algorithm.kl_ctrl") | {"type": "fixed", "kl_coef": 0.01} == run.get(
        "algorithm.kl_ctrl"
    )
    updates = run.get("data.train_batch_size") // run.get(f"{ACTOR}.ppo_mini_batch_size")
    assert updates == 64 and run.get(f"{ACTOR}.ppo_mini_batch_size") * 8 == 128
    assert run.recipe.models["simplerl"].hub == "Qwen/Qwen2.5-Math-7B" and run.recipe.sft is None
    found = run.recipe.evaluation
    assert found.temperature == 0 and {b.samples for b in found.benchmarks.values()} == {1}
    assert {*FIVE, "gsm8k", "gaokao2023en", "college_math"} < set(found.benchmarks)
    # the console shows the accuracy of the first while it is measured
    assert list(found.benchmarks)[0] == "gsm8k"


@pytest.mark.parametrize("scale", SCALES)
def test_warm_ups_differ_in_what_they_teach_and_the_trained_on_file_is_made(scale):
    warmups = arm(scale=scale).recipe.warmups
    options = arm(scale=scale).recipe.data.options
    assert set(warmups) == {"foreign", "dataset", "self", "easy"}
    trainers = [warmup.sft.trainer for warmup in warmups.values()]
    assert all(trainer == trainers[0] for trainer in trainers)
    own, easy = warmups["self"].sampled, warmups["easy"].sampled
    assert own.arm == easy.arm == "zero" and own.samples == 5
    assert (own.file, easy.file) == ("data/train.parquet", "data/easy.parquet")
    named = options.get("tests", options) | options.get("sft", {}) if scale == "node8" else options
    assert "easy" in named
    if scale == "micro":
        steps = {w.sft.phases[0]["trainer"]["total_training_steps"] for w in warmups.values()}
        assert len(steps) == 1


@pytest.mark.parametrize(
    ("variant", "overrides", "words"),
    [
        ("zero", ["recipe.warmup=long"], "has foreign, dataset, self, easy"),
        ("zero", ["+recipe.method=sft"], "set recipe.warmup"),
        ("warmup_self", ["recipe.warmups.self.sampled.arm=warmup_easy"], "without warm-up"),
        ("warmup_self", ["recipe.warmups.self.sampled.samples=0"], "at least 1"),
        ("warmup_foreign", ["recipe.warmups.foreign.sft.phases=[]"], "one phase"),
        (
            "warmup_foreign",
            ["recipe.warmups.foreign.sft.trainer.data.max_length=70"],
            "may have 75 tokens",
        ),
    ],
)
def test_a_warm_up_that_cannot_be_made_is_refused(variant, overrides, words):
    run = compose_run(FOLDER, "micro", variant, 1, overrides)
    with pytest.raises(ValueError, match=words):
        check_warmup(run)


def test_the_teacher_is_the_published_arm_unless_an_override_changes_it():
    def taught_by(*overrides):
        return teacher(compose_run(FOLDER, "micro", "warmup_self", 2, overrides), "zero")

    assert taught_by().label == "zero" and taught_by().seed == 2
    for override in ("learning_rate.warmup_self=3e-5", "warmups.self.sampled.samples=2"):
        assert taught_by(f"recipe.{override}").published
    other = taught_by(f"{ACTOR}.optim.lr=3e-5")
    assert other.label.startswith("zero+") and other.get(f"{ACTOR}.optim.lr") == 3e-5


# --- the reward -------------------------------------------------------------------------------

PUBLISHED = get_grader("recipes.simplerl.task:published")
RANDOM = get_grader("recipes.simplerl.task:random")
CHAIN = Chain((2, 9, 1, 4), "--*")


@pytest.mark.parametrize(
    ("response", "score", "form", "code", "reflection"),
    [
        (solution(CHAIN, "steps"), 1, 1, 0, 0),
        (solution(CHAIN, "code"), 1, 1, 1, 0),
        (solution(CHAIN, "code", boxed=False), -1, 0, 1, 0),
        (solution(CHAIN, "terse"), 1, 1, 0, 0),
        (solution(CHAIN, "long"), 1, 1, 0, 1),
        ("\\boxed{7}", -0.5, 1, 0, 0),
        ("boxed", -0.5, 1, 0, 0),  # the substring alone
        ("Let me check: so \\boxed{8}", 1, 1, 0, 1),
        ("```python\nprint(8)\n```", -1, 0, 1, 0),
        ("  import math\n\\boxed{8}", 1, 1, 1, 0),
        ("of great import to us, and an awaited printout", -1, 0, 0, 0),
        ("", -1, 0, 0, 0),
        (None, -1, 0, 0, 0),
    ],
)
def test_the_reward_and_the_style_beside_it(response, score, form, code, reflection):
    row = {"response": response, "gold": "8"}
    for verdict in (PUBLISHED.grade(row), PUBLISHED.fast(row)):
        assert verdict.score == score
        assert verdict.details == {"format": form, "code": code, "reflection": reflection}
    by_chance = RANDOM.grade(row)
    assert by_chance.details == verdict.details and by_chance.score in (1, -0.5)
    assert (by_chance.score == 1) == (by_chance.outcome is Outcome.CORRECT)


def test_other_tasks_are_graded_alike():
    for task, right in (("reverse", "1284"), ("sort", "1248")):
        word = Word(task, "4821")
        assert word.answer == right and word.prompt == f"{task[0]}4821="
        assert PUBLISHED.fast({"response": solution(word, "steps"), "gold": right}).score == 1


@pytest.mark.parametrize("scale", SCALES)
def test_the_control_is_paid_at_random_and_evaluated_by_the_truth(scale):
    run = arm("random_reward", scale)
    assert set(Rules.of(run.get(KEY)).graders) == {"recipes.simplerl.task:random"}
    assert run.recipe.evaluation == arm(scale=scale).recipe.evaluation
    graders = {b.grader for b in run.recipe.evaluation.benchmarks.values()}
    assert graders <= {"simplerl", "ifeval"}


# --- claims and the paper's numbers -----------------------------------------------------------


def test_claims_can_be_measured_where_they_are_made():
    for claim in load_claims(FOLDER / "claims.yaml"):
        for scale in filter(claim.is_for, SCALES):
            benchmarks = arm(scale=scale).recipe.evaluation.benchmarks
            for m in claim.parsed.measurements:
                if m.function == "accuracy":
                    assert m.name.removesuffix("@base") in benchmarks, claim.id


def test_numbers_of_claims_are_the_papers():
    printed = {(p.variant, p.benchmark): p.value for p in load_paper(FOLDER / "paper.csv")}
    checked = 0
    for claim in load_claims(FOLDER / "claims.yaml"):
        values = {}
        for m in claim.parsed.measurements:
            name = m.name.removesuffix("@base")
            values[m] = printed.get((f"before RL, {m.arm}" if m.name != name else m.arm, name))
        if claim.paper.value is None or None in values.values():
            continue
        ours = claim.parsed.value(values) / 100
        assert ours == pytest.approx(claim.paper.value, abs=6e-4), claim.id
        checked += 1
    assert checked >= 4


def test_small_benchmarks_have_their_count_beside_them():
    for number in load_paper(FOLDER / "paper.csv"):
        if number.benchmark in ("aime24", "amc23") and number.value is not None:
            assert "95 % CI" in number.status or number.status == "no count of 40", number


@pytest.mark.skipif(not TABLE.exists(), reason="needs the table beside the checkout")
def test_every_published_number_is_there():
    ours = [p.value for p in load_paper(FOLDER / "paper.csv") if p.value is not None]
    missing = []
    with TABLE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                value = float(row["value"])
            except ValueError:
                continue  # in words; the notes have it
            if value in ours:
                ours.remove(value)
            else:
                missing.append(row)
    assert not missing
