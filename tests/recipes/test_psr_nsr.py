"""The arms of psr_nsr: which keys make them differ, and the paper's setting at node8."""

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from common.config import choices, leaves, recipe_folder
from common.plugin.advantages import sign_weights
from common.results.claims import load_claims
from common.results.paper import load_paper
from common.rewards.countdown_chain import NUMBERS, OPERATIONS
from common.rewards.rule import KEY, Rules
from tests.composed import composed

FOLDER = recipe_folder("psr_nsr")
SAMPLER = "trainer.v1.sampler.sampler_kwargs"
SCALES = choices(FOLDER, "scale")


def arm(variant, scale="node8"):
    return composed("psr_nsr", scale, variant)


def differing(one, other, scale="node8"):
    a, b = (dict(leaves(arm(v, scale).config)) for v in (one, other))
    return {k for k in a | b if a.get(k) != b.get(k)} - {"recipe.variant"}


@pytest.mark.parametrize(
    ("variant", "weights"),
    [
        ("psr", (1, 0)),
        ("nsr", (0, 1)),
        ("w_reinforce", (0.1, 1)),
        ("w_reinforce_005", (0.05, 1)),
        ("w_reinforce_020", (0.2, 1)),
        ("reinforce", (1, 1)),
    ],
)
@pytest.mark.parametrize("scale", SCALES)
def test_the_weights_of_the_arms_and_the_rows_that_they_leave_out(scale, variant, weights):
    run = arm(variant, scale)
    assert run.get("algorithm.adv_estimator") == "weighted_signs"
    assert sign_weights(run.get("algorithm.sign_weights")) == weights
    assert sign_weights(run.get(SAMPLER)["sign_weights"]) == weights
    assert run.get("actor_rollout_ref.actor.policy_loss.loss_mode") == "token_mean_by_rows"
    for key in ("algorithm.use_kl_in_reward", "actor_rollout_ref.actor.use_kl_loss"):
        assert run.get(key) is False


@pytest.mark.parametrize("scale", SCALES)
def test_arms_differ_in_what_they_are_about(scale):
    signs = {"algorithm.sign_weights", f"{SAMPLER}.sign_weights"}
    correct, incorrect = ({f"{k}.{side}" for k in signs} for side in ("correct", "incorrect"))
    assert differing("psr", "reinforce", scale) == incorrect
    assert differing("nsr", "reinforce", scale) == correct
    assert differing("w_reinforce", "reinforce", scale) == correct
    actor = "actor_rollout_ref.actor"
    for variant in ("psr", "nsr", "w_reinforce"):
        other = f"{variant}_entropy_code"
        assert differing(variant, other, scale) == {f"{actor}.entropy_coeff"}
    assert differing("psr", "psr_all_rows", scale) == {
        f"{actor}.policy_loss.loss_mode",
        f"{SAMPLER}.sign_weights.incorrect",
    }
    selection = "algorithm.token_selection"
    assert differing("high_entropy", "high_entropy_trl", scale) == {f"{selection}.denominator"}
    assert differing("high_entropy", "low_entropy", scale) == {
        f"{selection}.share",
        f"{selection}.side",
    }
    assert differing("high_entropy", "dapo", scale) == {
        "trainer.v1.trainer_mode",
        *(f"{selection}.{key}" for key in ("share", "side", "denominator")),
    }
    assert differing("random_reward", "grpo", scale) == {f"{KEY}.reward_kwargs.grader"}


def test_as_described_all_rows_stay_and_one_denominator_counts():
    for variant, weights in (("psr_all_rows", (1, 0)), ("nsr_all_rows", (0, 1))):
        run = arm(variant)
        assert sign_weights(run.get("algorithm.sign_weights")) == weights
        assert sign_weights(run.get(SAMPLER)["sign_weights"]) == (1, 1)
        assert run.get("actor_rollout_ref.actor.policy_loss.loss_mode") == "grpo_token"


def test_kl_is_where_the_scripts_have_it():
    ppo, grpo = arm("ppo"), arm("grpo")
    assert ppo.get("algorithm.use_kl_in_reward") and ppo.get("critic.enable")
    assert ppo.get("algorithm.kl_ctrl")["kl_coef"] == 1e-3
    assert not ppo.get("actor_rollout_ref.actor.use_kl_loss")
    loss = grpo.get("actor_rollout_ref.actor")
    assert (loss["use_kl_loss"], loss["kl_loss_coef"]) == (True, 1e-3)
    assert loss["kl_loss_type"] == "low_var_kl"
    assert not grpo.get("algorithm.use_kl_in_reward") and not grpo.get("critic.enable")


def test_node8_is_the_papers_setting():
    run = arm("w_reinforce")
    for key, value in {
        "data.train_batch_size": 1024,
        "data.max_prompt_length": 1024,
        "data.max_response_length": 3072,
        "actor_rollout_ref.rollout.n": 8,
        "actor_rollout_ref.actor.ppo_mini_batch_size": 256,
        "actor_rollout_ref.actor.optim.lr": 1e-6,
        "actor_rollout_ref.actor.optim.clip_grad": 1.0,
        "actor_rollout_ref.actor.clip_ratio": 0.2,
        "actor_rollout_ref.actor.entropy_coeff": 1e-4,
        "actor_rollout_ref.actor.strategy": "fsdp2",
        "actor_rollout_ref.rollout.name": "vllm",
        "actor_rollout_ref.rollout.temperature": 1.0,
        "trainer.total_training_steps": 140,
    }.items():
        assert run.get(key) == value, key
    assert arm("ppo").get("critic.optim.lr") == 1e-5
    assert run.recipe.sft is None and run.recipe.models["base"].hub == "Qwen/Qwen2.5-Math-7B"
    found = run.recipe.evaluation
    assert (found.temperature, found.top_p, found.top_k) == (0.6, 0.95, -1)
    assert {n: b.samples for n, b in found.benchmarks.items()} == dict.fromkeys(
        ("test", "aime25", "amc23"), 256
    )


def test_qwen3_is_sampled_as_its_makers_advise():
    run = arm("w_reinforce", "node8_qwen3")
    found = run.recipe.evaluation
    assert (found.temperature, found.top_p, found.top_k) == (0.7, 0.8, 20)
    assert {b.samples for b in found.benchmarks.values()} == {64}
    assert {b.file for b in found.benchmarks.values()} == {
        b.file for b in arm("w_reinforce").recipe.evaluation.benchmarks.values()
    }
    assert run.get("data.max_response_length") == 31744
    assert run.recipe.models["base"].hub == "Qwen/Qwen3-4B"
    assert run.get("data.train_batch_size") == 1024


def test_an_answer_of_qwen3_begins_behind_an_empty_thought():
    text = (FOLDER / "chatml_no_thinking.jinja").read_text()
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(text)
    messages = [{"role": "user", "content": "2+2?"}]
    prompt = template.render(messages=messages, add_generation_prompt=True)
    assert prompt == (
        "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    answered = [*messages, {"role": "assistant", "content": "4"}]
    assert template.render(messages=answered) == prompt + "4<|im_end|>\n"


def test_the_micro_model_has_a_token_for_everything_that_is_written():
    run = arm("psr", "micro")
    characters = run.recipe.models["base"].build["characters"]
    assert characters == NUMBERS + "".join(OPERATIONS) + "=:"
    longest = max(run.recipe.data.options["counts"])
    assert run.get("data.max_prompt_length") >= longest + 3
    assert run.get("data.max_response_length") > 4 * longest - 3


@pytest.mark.parametrize("scale", SCALES)
def test_the_control_is_paid_at_random_and_evaluated_by_the_truth(scale):
    run = arm("random_reward", scale)
    assert set(Rules.of(run.get(KEY)).graders) == {"random_reward"}
    truth = arm("grpo", scale)
    assert run.recipe.evaluation == truth.recipe.evaluation
    (grader,) = {b.grader for b in run.recipe.evaluation.benchmarks.values()}
    assert set(Rules.of(truth.get(KEY)).graders) == {grader}


def test_claims_can_be_measured_where_they_are_made():
    """Benchmarks and samples that a claim asks for exist at every scale that it is for."""
    for claim in load_claims(FOLDER / "claims.yaml"):
        for scale in filter(claim.is_for, SCALES):
            benchmarks = arm("psr", scale).recipe.evaluation.benchmarks
            for m in claim.parsed.measurements:
                if m.function in ("accuracy", "pass_at"):
                    name = m.name.removesuffix("@base")
                    assert name in benchmarks and m.k <= benchmarks[name].samples, claim.id


def test_claims_and_numbers_of_the_paper_agree():
    paper = load_paper(FOLDER / "paper.csv")
    printed = {(p.metric, p.benchmark, p.variant): p.value for p in paper}
    assert printed["pass@256", "test", "nsr"] == 96.9 and printed["accuracy", "test", "psr"] == 74.1
    checked = 0
    for claim in load_claims(FOLDER / "claims.yaml"):
        measured = claim.parsed.measurements
        if claim.paper.value is None or any(m.function == "mean" for m in measured):
            continue
        values = {}
        for m in measured:
            metric = f"pass@{m.k}" if m.function == "pass_at" and m.k > 1 else "accuracy"
            base = m.name.endswith("@base")
            key = (metric, m.name.removesuffix("@base"), "before RL" if base else m.arm)
            values[m] = printed.get(key)
        if claim.scales == ["node8_qwen3"] or None in values.values():
            continue
        value = claim.parsed.value(values) / 100
        assert value == pytest.approx(claim.paper.value, abs=5e-4), claim.id
        checked += 1
    assert checked >= 30
