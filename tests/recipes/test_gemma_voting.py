"""The arms of gemma_voting: which keys make them differ, and the article's settings at node8."""

from functools import cache

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from common.config import choices, leaves, recipe_folder
from common.results.claims import load_claims
from common.results.paper import load_paper
from common.rewards.group import GroupReward
from common.rewards.rule import KEY, Rules
from common.schema import vocabulary
from common.stages.prepare_model import word_tokenizer
from data.parquet import PROMPT_COLUMNS, read_parquet
from data.word_problems import build
from tests.composed import composed

FOLDER = recipe_folder("gemma_voting")
SCALES = choices(FOLDER, "scale")
VOTE = "trainer.v1.sampler.sampler_kwargs.group_reward"
GRADER = f"{KEY}.reward_kwargs.grader"
OPTIM = "actor_rollout_ref.actor.optim"
# setting by which the two GRPO scripts differ beside the reward: (older, newer), at node8
CONFOUNDERS = {
    "prompts": {
        "data.train_batch_size": (1, 2),
        "actor_rollout_ref.actor.ppo_mini_batch_size": (1, 2),
    },
    "temperature": {"actor_rollout_ref.rollout.temperature": (0.5, 1.0)},
    "clip": {f"{OPTIM}.clip_grad": (0.1, 1.0)},
    "schedule": {f"{OPTIM}.lr_warmup_steps_ratio": (0.05, 0.0)},
    "subset": {"data.train_max_samples": (2000, -1)},
    "optimizer": {
        f"{OPTIM}.betas": ([0.9, 0.99], [0.9, 0.999]),
        f"{OPTIM}.weight_decay": (0.1, 0.0),
    },
}


def arm(variant, scale="node8"):
    return composed("gemma_voting", scale, variant)


@cache
def settings(variant, scale="node8"):
    return dict(leaves(arm(variant, scale).config))


def differing(one, other, scale="node8"):
    a, b = settings(one, scale), settings(other, scale)
    found = {k for k in a | b if a.get(k) != b.get(k)} - {"recipe.variant"}
    # what verl derives for a critic and a teacher that are not there
    return {k for k in found if not k.startswith(("critic.", "distillation."))}


def test_the_older_script_is_the_newer_one_with_each_confounder():
    fair, old = settings("fair_pair_old"), settings("article_pair_old")
    for name, keys in CONFOUNDERS.items():
        one = settings(f"confounder_{name}")
        assert differing("fair_pair_old", f"confounder_{name}") == set(keys), name
        for key, (older, newer) in keys.items():
            assert (one[key], old[key], fair[key]) == (older, older, newer), key
    merged = {key for keys in CONFOUNDERS.values() for key in keys}
    assert differing("fair_pair_old", "article_pair_old") == merged
    halved = settings("confounder_prompts", "micro")["data.train_batch_size"]
    assert settings("old", "micro")["data.train_batch_size"] == 2 * halved


@pytest.mark.parametrize("scale", SCALES)
def test_arms_differ_in_what_they_are_about(scale):
    for pair in (
        ("fair_pair_old", "pair_new"),
        ("old", "published_new"),
        ("old", "smooth"),
        ("old", "old_fixed"),
        ("old", "random_reward"),
    ):
        assert differing(*pair, scale) == {GRADER}, pair
    for same in (("old", "fair_pair_old"), ("published_new", "pair_new")):
        assert differing(*same, scale) == set()
    swept = {f"{OPTIM}.lr"} if scale == "micro" else set()  # at micro for each headline arm
    votes = {f"{VOTE}.{name}" for name in ("rule", "bonus", "well_formed_only", "ties")}
    assert differing("group_vote", "vote_bonus", scale) == votes | swept
    every = {f"{VOTE}.{name}" for name in GroupReward.__dataclass_fields__}
    assert differing("group_vote", "published_new_fixed", scale) == every | swept
    limo = "recipe.warmups.limo"  # its phase names the text and the loss
    for scheme in ("a", "b", "c"):
        one, other = f"sft_{scheme}", f"sft_{scheme}_published"
        assert differing(one, other, scale) == {f"{limo}.text", f"{limo}.sft.phases"}
    assert differing("old", "sft_a", scale) == {"recipe.warmup"}
    assert differing("sft_a", "sft_c", scale) == {f"{limo}.loss", f"{limo}.sft.phases"}
    assert differing("sft_a_published", "sft_lost", scale) == {f"{limo}.lost"}


def test_the_votes_that_are_paid():
    assert GroupReward(**arm("group_vote").get(VOTE)) == GroupReward("vote")
    bonus = GroupReward(**arm("vote_bonus").get(VOTE))
    assert (bonus.rule, bonus.credit, bonus.bonus) == ("bonus", "step", 0.5)


def test_sft_and_grpo_as_published_lose_the_sft():
    for variant, grader in (
        ("sft_article_old", "gemma_old"),
        ("sft_article_new", "gemma_published_new"),
    ):
        found = arm(variant)
        assert found.get(GRADER) == grader
        limo = found.recipe.warmups["limo"]
        assert found.recipe.warmup == "limo"
        assert (limo.lost, limo.text, limo.loss) == (True, "published", "WholeText")
        assert found.get("data.train_batch_size") == 2
        assert found.get("actor_rollout_ref.rollout.temperature") == 1.0


def test_node8_is_the_newer_scripts_setting():
    run = arm("published_new")
    for key, value in {
        "data.train_batch_size": 2,
        "data.max_response_length": 128,
        "trainer.total_training_steps": 180,
        "actor_rollout_ref.rollout.n": 8,
        "actor_rollout_ref.rollout.name": "vllm",
        "actor_rollout_ref.actor.use_kl_loss": True,
        "actor_rollout_ref.actor.kl_loss_coef": 0.005,
        "actor_rollout_ref.actor.kl_loss_type": "low_var_kl",
        "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
        "actor_rollout_ref.model.lora_rank": 64,
        "actor_rollout_ref.model.lora_alpha": 64,
        f"{OPTIM}.lr": 1e-5,
        "algorithm.norm_adv_by_std_in_grpo": True,
    }.items():
        assert run.get(key) == value, key
    assert run.recipe.models["base"].hub == "google/gemma-2-2b-it" and run.recipe.sft is None
    train, validation = (run.recipe.data.options[k][0] for k in ("train", "validation"))
    assert (train["take"], train["shuffle"], validation["skip"]) == (3500, 42, 3500)
    spec = arm("sft_a").recipe.warmups["limo"].sft
    assert spec.trainer["data"]["max_length"] == 2048
    assert (
        spec.phases[0]["optim"]["lr"] == 2e-4
        and spec.phases[0]["trainer"]["total_training_steps"] == 102
    )


@pytest.mark.parametrize("scale", SCALES)
def test_evaluation_is_the_articles_and_by_value_raw_and_by_the_chat_template(scale):
    run = arm("old", scale)
    graders = {
        "format": "gemma_format",
        "plausible": "gemma_plausible",
        "exact": "gemma_exact",
        "numeric": "gemma_exact_fixed",
    }
    found = run.recipe.evaluation.benchmarks
    assert {n: b.grader for n, b in found.items()} == graders | {
        f"raw_{n}": g for n, g in graders.items()
    }
    assert {b.chat_template for n, b in found.items() if n.startswith("raw_")} == {"raw.jinja"}
    assert len({(b.file, b.samples) for b in found.values()}) == 1  # sampled once for all graders
    if scale == "node8":
        evaluation = run.recipe.evaluation
        assert (evaluation.temperature, evaluation.max_response_length) == (0.0, 256)
    assert set(Rules.of(arm("random_reward", scale).get(KEY)).graders) == {"random_reward"}
    assert arm("random_reward", scale).recipe.evaluation == run.recipe.evaluation


def test_gemmas_turns():
    text = (FOLDER / "gemma.jinja").read_text()
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(text)
    prompt = template.render(
        messages=[{"role": "user", "content": "2+2?"}],
        bos_token="<bos>",
        add_generation_prompt=True,
    )
    assert prompt == "<bos><start_of_turn>user\n2+2?<end_of_turn>\n<start_of_turn>model\n"
    raw = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        (FOLDER / "raw.jinja").read_text()
    )
    messages = [{"role": "user", "content": "2+2?"}]
    assert raw.render(messages=messages, bos_token="<bos>") == "<bos>2+2?"


def test_the_micro_model_has_a_token_for_everything_that_is_written(tmp_path):
    run = arm("old", "micro")
    options = run.recipe.data.options | {"sft": 300, "sft_noisy": 300, "train": 50, "noise": 0.5}
    build(tmp_path, 1, **options)
    model = run.recipe.models["base"].build
    template = (FOLDER / model["chat_template"]).read_text()
    tokenizer = word_tokenizer(vocabulary(model), template)
    longest = {"prompt": 0, "all": 0}

    def prompt_of(row, markup):
        text = row["prompt"][-1]["content"]
        if markup:
            text = tokenizer.apply_chat_template(
                row["prompt"], add_generation_prompt=True, tokenize=False
            )
        longest["prompt"] = max(longest["prompt"], len(tokenizer(text)["input_ids"]))
        return text

    def known(text):
        tokens = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in tokens and tokenizer.decode(tokens) == text
        longest["all"] = max(longest["all"], len(tokens))

    for row in read_parquet(tmp_path / "test.parquet", PROMPT_COLUMNS):
        known(prompt_of(row, markup=True))
    for name in ("sft_noisy", "warmup_published"):
        for row in read_parquet(tmp_path / f"{name}.parquet", ("markup", "reasoning", "answer")):
            text = prompt_of(row, row["markup"]) + row["reasoning"] + row["answer"]
            known(text + tokenizer.eos_token)
    assert longest["prompt"] <= run.get("data.max_prompt_length")
    assert longest["all"] <= run.recipe.sft.trainer["data"]["max_length"]


def test_claims_can_be_measured_where_they_are_made():
    for claim in load_claims(FOLDER / "claims.yaml"):
        for scale in filter(claim.is_for, SCALES):
            for m in claim.parsed.measurements:
                if m.function in ("accuracy", "pass_at", "tokens"):
                    name = m.name.removesuffix("@base")
                    assert name in arm(m.arm, scale).recipe.evaluation.benchmarks, claim.id


def test_claims_and_numbers_of_the_article_agree():
    paper = load_paper(FOLDER / "paper.csv")
    printed = {(p.metric, p.benchmark, p.variant): p for p in paper}
    assert printed["accuracy", "raw_exact", "pair_new"].value == 49.8
    problems = {
        "raw_format": "correct_format_n",
        "raw_plausible": "plausibly_correct_n",
        "raw_exact": "exact_correct_n",
    }
    for (metric, benchmark, variant), number in printed.items():
        if metric == "accuracy":
            count = printed[problems[benchmark], "", variant].value
            assert number.value == pytest.approx(100 * count / 1319, abs=0.051)
    checked = 0
    for claim in load_claims(FOLDER / "claims.yaml"):
        metrics = {"accuracy": "accuracy", "tokens": "response_tokens"}
        keys = {m: (metrics.get(m.function, ""), m.name, m.arm) for m in claim.parsed.measurements}
        if claim.paper.value is not None and all(k in printed for k in keys.values()):
            values = {m: printed[k].value / printed[k].factor for m, k in keys.items()}
            value = claim.parsed.value(values)
            assert value == pytest.approx(claim.paper.value, abs=5e-4), claim.id
            checked += 1
    assert checked == 4
