"""Logic-RL: what its arms are, its rewards in words and symbols, and verl's numbers by hand."""

import json
import math
import re
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import get_adv_estimator_fn, kl_penalty

from common.config import STEPS_KEY, choices, compose_run, leaves, recipe_folder
from common.rewards.registry import get_grader
from common.rewards.verdict import Outcome
from common.stages.evaluate import evaluation_inputs
from common.stages.record import grader_of
from common.stages.reward import evaluation_sources, reward_sources
from data.knights_knaves import Sampler
from recipes.logic_rl.task import GRADERS, SYMBOLS, in_symbols

FOLDER = recipe_folder("logic_rl")
GRADE = {grader.name: grader.grade for grader in GRADERS}
ACTOR = "actor_rollout_ref.actor"


@cache
def run(variant="reinforce_pp", scale="node8"):
    return compose_run(FOLDER, scale, variant, 1, [])


# --- the arms ---------------------------------------------------------------------------------


def test_the_papers_setting():
    made = run()
    assert made.get("data.train_batch_size") == made.get("actor_rollout_ref.rollout.n") == 8
    assert made.get(f"{ACTOR}.ppo_mini_batch_size") == 8  # one update a step
    assert made.get("data.max_response_length") == 4096 and made.get(STEPS_KEY) == 3600
    assert made.get(f"{ACTOR}.optim.lr") == 4e-7
    assert made.get("actor_rollout_ref.rollout.temperature") == 0.7
    assert made.get("algorithm.adv_estimator") == "reinforce_plus_plus"
    assert made.get(f"{ACTOR}.use_kl_loss") and not made.get("algorithm.use_kl_in_reward")
    assert made.get(f"{ACTOR}.kl_loss_type") == "low_var_kl"
    assert made.get(f"{ACTOR}.kl_loss_coef") == 0.001 and made.get("algorithm.gamma") == 1
    assert made.recipe.sft is None
    benchmarks = made.recipe.evaluation.benchmarks
    assert {f"kk_{n}" for n in range(2, 9)} <= set(benchmarks) and {"aime", "amc"} <= set(
        benchmarks
    )


@pytest.mark.parametrize("scale", ["micro", "node8"])
@pytest.mark.parametrize(
    ("variant", "changed"),
    [
        ("reinforce_pp", {}),
        ("ppo", {"algorithm.adv_estimator": "gae", "critic.enable": True}),
        ("grpo", {"algorithm.adv_estimator": "grpo"}),
        ("mixed", {}),
        ("curriculum", {"data.shuffle": False}),
        ("kl_in_reward", {"algorithm.use_kl_in_reward": True, f"{ACTOR}.use_kl_loss": False}),
        ("kl_sign_bug", {f"{ACTOR}.kl_loss_coef": -0.001}),
        ("rft", {"recipe.method": "rejection"}),
        ("strict_reward", {"GRADER": "recipes.logic_rl.task:strict"}),
        ("evaluation_parser", {"GRADER": "recipes.logic_rl.task:evaluation_parser"}),
        ("random_reward", {"GRADER": "random_reward"}),
    ],
)
def test_an_arm_is_its_delta(scale, variant, changed):
    base, arm = (dict(leaves(run(v, scale).config)) for v in ("reinforce_pp", variant))
    found = {k: arm[k] for k in arm if base.get(k) != arm[k] and k != "recipe.variant"}
    found.pop(STEPS_KEY, None)
    grader = "reward.custom_reward_function.reward_kwargs.grader"
    assert found == {grader if k == "GRADER" else k: v for k, v in changed.items()}


def test_the_base_model_has_prompts_of_its_own():
    options = run("base_start").recipe.data.options
    assert options["template"] == "logic_rl_base_raw"
    assert run().recipe.data.options["test_template"] == "logic_rl_instruct_eval_raw"


def test_research_question_6_compares_one_epoch_with_one_epoch():
    for variant in ("mixed", "curriculum"):
        assert run(variant).get(STEPS_KEY) == 4500 // 8
        micro = run(variant, "micro")
        puzzles = sum(micro.recipe.data.options["train"])
        assert micro.get(STEPS_KEY) * micro.get("data.train_batch_size") == puzzles


def test_every_value_says_where_it_comes_from():
    for name in ("recipe.yaml", "scale/node8.yaml"):
        section = ""
        for line in (FOLDER / name).read_text().splitlines():
            if line and not line.startswith((" ", "#")):
                section = line.split(":")[0]
            sets_value = re.match(r"\s+\w+: *[^\s#]", line)
            if section in ("algorithm", "actor_rollout_ref", "critic") and sets_value:
                assert re.search(r"# (paper|code|ours|of the scale|below|one|set)", line) or (
                    "save_contents" in line or "default_agent_loop" in line
                ), f"{name}: {line}"


@pytest.mark.parametrize("scale", choices(FOLDER, "scale"))
def test_the_tokenizer_has_every_symbol(scale):
    made = run(scale=scale)
    for model in made.recipe.models.values():
        if model.build:
            assert sorted(model.build["characters"]) == sorted(SYMBOLS.alphabet)


def test_arms_of_other_rewards_share_the_evaluation_before_rl(tmp_path):
    (tmp_path / "stage.json").write_text('{"key": "k"}')
    plain, random = run(scale="micro"), run("random_reward", "micro")
    assert evaluation_inputs(plain, tmp_path, "m") == evaluation_inputs(random, tmp_path, "m")
    own = {"recipes/logic_rl/task.py", "common/rewards/knights_knaves.py"}
    assert own <= set(reward_sources(plain)) and own <= set(evaluation_sources(random))
    assert "recipes/logic_rl/task.py" not in reward_sources(random)
    assert grader_of(random)["name"].split(", ")[0] == "random_reward"
    gspo = compose_run(recipe_folder("gspo_moe"), "micro", "gspo", 1, [])
    assert evaluation_inputs(gspo, tmp_path, "m")["reward"] is not None


# --- the rewards ------------------------------------------------------------------------------

GOLD = {"Zoey": "knave", "Oliver": "knight"}
ANSWER = "(1) Zoey is a knave\n(2) Oliver is a knight"


def words(answer, thought="Suppose Zoey were a knight. " * 4):
    return f"{thought}</think>\n<answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("response", "published", "looser", "evaluation", "strict"),
    [
        (words(ANSWER), 3, 3, 1, 1),
        (words(ANSWER.replace("knave", "knight")), -0.5, -0.5, 0, 0),
        (words("Zoey: knave\nOliver: knight"), -1, 3, 1, 1),  # not "is a"
        (words(ANSWER + "\nso one knight"), -1, 3, 1, 0),  # three roles for two people
        (words("I cannot tell"), -1, -1, 0, 0),
        (words(ANSWER).replace("</think>", ""), -3, -3, 0, 0),
        ("", -3, -3, 0, 0),
        (None, -3, -3, 0, 0),
    ],
)
def test_in_words_the_prompt_has_opened_the_thought(
    response, published, looser, evaluation, strict
):
    row = {"response": response, "gold": GOLD}
    names = ("published", "evaluation_parser", "evaluation", "strict")
    scores = [GRADE[name](row).score for name in names]
    assert scores == [published, looser, evaluation, strict]


PUZZLE = Sampler(1, 3).puzzles(1)[0]
SOLUTION, SYMBOL_GOLD = SYMBOLS.solution(PUZZLE), SYMBOLS.gold(PUZZLE)
FLIP = str.maketrans("kn", "nk")
THOUGHT, _, ROLES = SOLUTION.partition("[")


@pytest.mark.parametrize(
    ("response", "published", "looser", "evaluation", "strict"),
    [
        (SOLUTION, 3, 3, 1, 1),
        (f"{{}}[{ROLES}", 3, 3, 1, 0),  # no thought
        (f"{{{ROLES[1:-1:2]}1.}}[{ROLES}", 3, 3, 1, 0),  # the answer quoted as one
        (THOUGHT.replace("x", "x" * 2) + f"[{ROLES}", 3, 3, 1, 0),
        (f"{THOUGHT}[{ROLES.translate(FLIP)}", -0.5, -0.5, 0, 0),
        (f"{THOUGHT}[{ROLES[:2]}{ROLES}", -1, 3, 1, 0),  # somebody twice
        (f"{THOUGHT}[{ROLES[:-3]}]", -1, -1, 0, 0),  # somebody missing
        (SOLUTION[:-1], -3, -3, 0, 0),  # cut before the end
        (SOLUTION[1:], -3, 3, 1, 0),  # the evaluation does not ask for the opening tag
        (f"{SOLUTION}.", 3, 3, 1, 0),  # something after the answer
        (SOLUTION.replace("}", "}}"), -3, -3, 0, 0),
        ("", -3, -3, 0, 0),
    ],
)
def test_in_symbols_the_same_rules_hold(response, published, looser, evaluation, strict):
    row = {"response": response, "gold": SYMBOL_GOLD}
    names = ("published", "evaluation_parser", "evaluation", "strict")
    scores = [GRADE[name](row).score for name in names]
    assert scores == [published, looser, evaluation, strict]
    assert in_symbols(response)


def test_solutions_of_any_number_of_people_are_right():
    for people in range(2, 9):
        for puzzle in Sampler(3, people).puzzles(5):
            row = {"response": SYMBOLS.solution(puzzle), "gold": json.dumps(SYMBOLS.gold(puzzle))}
            assert [GRADE[name](row).score for name in GRADE] == [3, 3, 1, 1]


@given(st.text() | st.text(alphabet=SYMBOLS.alphabet))
def test_any_response_gets_a_verdict_on_the_reachable_scores(response):
    row = {"response": response, "gold": SYMBOL_GOLD}
    for name in ("published", "evaluation_parser"):
        assert GRADE[name](row).score in (3, -0.5, -1, -3)
    for name in ("evaluation", "strict"):
        verdict = GRADE[name](row)
        assert verdict.score == float(verdict.outcome is Outcome.CORRECT)
    # what is strictly right is right to all; what training pays in full, the evaluation counts
    assert GRADE["strict"](row).score <= GRADE["evaluation"](row).score
    assert (GRADE["published"](row).score == 3) <= (GRADE["evaluation"](row).score == 1)


@pytest.mark.parametrize("name", GRADE)
def test_a_gold_that_nobody_can_read(name):
    for response in (SOLUTION, words(ANSWER)):
        assert GRADE[name]({"response": response, "gold": "?"}).outcome is Outcome.UNGRADABLE
        with pytest.raises(ValueError, match="gold"):
            GRADE[name]({"response": response, "gold": 3})
    assert get_grader(f"recipes.logic_rl.task:{name}").name == name


# --- verl's numbers ---------------------------------------------------------------------------


def advantages(rewards, mask):
    config = OmegaConf.create({"gamma": 1.0})
    estimate = get_adv_estimator_fn("reinforce_plus_plus")
    return estimate(token_level_rewards=rewards, response_mask=mask, config=config)


def padded(lengths, scores):
    """Rewards at the last token of each response, and the mask, [responses, tokens]."""
    mask = torch.tensor([[float(t < n) for t in range(max(lengths))] for n in lengths])
    rewards = torch.zeros_like(mask)
    for row, (length, score) in enumerate(zip(lengths, scores, strict=True)):
        rewards[row, length - 1] = score
    return rewards, mask


def test_reinforce_plus_plus_by_hand():
    """Responses of 2, 1 and 3 tokens with rewards 2, -1 and -1: the returns of the tokens are
    2 2 -1 -1 -1 -1, their mean is 0, their variance (4 + 4 + 4) / 5 = 2.4: 1.2910 and -0.6455."""
    found, returns = advantages(*padded([2, 1, 3], [2.0, -1.0, -1.0]))
    assert returns.tolist() == [[2, 2, 0], [-1, 0, 0], [-1, -1, -1]]
    a, b = 2 / math.sqrt(2.4), -1 / math.sqrt(2.4)
    expected = torch.tensor([[a, a, 0], [b, 0, 0], [b, b, b]])
    assert torch.allclose(found, expected, atol=1e-6)


def reference(lengths, scores):
    """The same in Python's floats: every token counts once, so long responses count more."""
    tokens = [score for length, score in zip(lengths, scores, strict=True) for _ in range(length)]
    mean = math.fsum(tokens) / len(tokens)
    variance = math.fsum((t - mean) ** 2 for t in tokens) / (len(tokens) - 1)
    return [(score - mean) / math.sqrt(variance + 1e-8) for score in scores]


@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.sampled_from([3.0, -0.5, -1.0, -3.0])),
        min_size=2,
        max_size=20,
    ).filter(lambda pairs: len({score for _, score in pairs}) > 1)
)
def test_reinforce_plus_plus_against_a_reference(pairs):
    lengths, scores = zip(*pairs, strict=True)
    rewards, mask = padded(lengths, scores)
    found, _ = advantages(rewards.double(), mask.double())
    for row, expected in enumerate(reference(lengths, scores)):
        assert found[row, : lengths[row]].tolist() == pytest.approx(
            [expected] * lengths[row], abs=1e-6
        )
        assert not found[row, lengths[row] :].any()


def test_the_kl_estimator_by_hand():
    """pi 1/2 and ref 1/4: ref/pi - log(ref/pi) - 1 = 1/2 + log 2 - 1; and its limit of 10."""
    found = kl_penalty(
        torch.log(torch.tensor([0.5, 0.25, 0.1])),
        torch.log(torch.tensor([0.25, 0.25, 0.1])) + torch.tensor([0.0, 0.0, 5.0]),
        "low_var_kl",
    )
    assert found.tolist() == pytest.approx([0.5 + math.log(2) - 1, 0.0, 10.0], abs=1e-6)


@given(st.lists(st.tuples(st.floats(-12, 0), st.floats(-12, 0)), min_size=1, max_size=20))
def test_the_kl_estimator_against_a_reference(pairs):
    log_prob, ref = (torch.tensor(x, dtype=torch.float64) for x in zip(*pairs, strict=True))
    found = kl_penalty(log_prob, ref, "low_var_kl")
    for value, (ours, theirs) in zip(found.tolist(), pairs, strict=True):
        ratio = theirs - ours
        assert value == pytest.approx(min(math.exp(ratio) - ratio - 1, 10.0), abs=1e-6)
        assert value >= 0


def test_its_gradient_pulls_to_the_reference_and_the_published_sign_pushes_away():
    log_prob = torch.tensor([-1.0, -3.0], requires_grad=True)
    reference_log_prob = torch.tensor([-2.0, -2.0])
    for variant, sign in (("reinforce_pp", 1), ("kl_sign_bug", -1)):
        coefficient = run(variant).get(f"{ACTOR}.kl_loss_coef")
        loss = coefficient * kl_penalty(log_prob, reference_log_prob, "low_var_kl").sum()
        (gradient,) = torch.autograd.grad(loss, log_prob)
        # descent lowers what is more likely than under the reference, and raises what is less
        assert torch.equal(gradient.sign(), sign * torch.tensor([1.0, -1.0]))
