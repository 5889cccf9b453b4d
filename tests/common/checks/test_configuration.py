"""Each check of a composed configuration, shown refusing a bad value in one line."""

from dataclasses import replace

import pytest

from common.checks import check_config, configuration
from common.checks.warmup import check_warmup
from common.config import compose_run, recipe_folder
from common.estimate.dimensions import hub_models

GSPO = recipe_folder("gspo_moe")
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
SAMPLER = "trainer.v1.sampler.sampler_kwargs"
R3 = f"{ROLLOUT}.enable_rollout_routing_replay"


@pytest.mark.parametrize(
    ("scale", "override", "words"),
    [
        ("micro", "trainer.n_gpus_per_node=2", ["trainer.n_gpus_per_node=2", "set recipe.gpus"]),
        ("micro", "trainer.nnodes=0", ["trainer.nnodes=0", "at least 1"]),
        ("micro", "trainer.nnodes=2", ["ppo_micro_batch_size_per_gpu=32", "16 responses"]),
        ("node8", "trainer.nnodes=3", ["24 ranks", "ppo_mini_batch_size"]),
        (
            "micro",
            f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu=48",
            ["log_prob_micro_batch_size_per_gpu=48", "128 responses"],
        ),
        ("micro", f"{ROLLOUT}.max_model_len=37", ["max_model_len=37", "38 tokens"]),
        ("node8", f"{ROLLOUT}.max_model_len=40960", ["32768 positions", "40960"]),
        ("node8", "data.max_response_length=9000", ["max_model_len=10240", "11048 tokens"]),
        ("micro", "data.max_response_length=60", ["64 positions", "70 tokens"]),
        ("node8", f"{ACTOR}.ppo_max_token_len_per_gpu=8192", ["=8192", "10240 tokens"]),
        (
            "node8",
            f"{ROLLOUT}.log_prob_max_token_len_per_gpu=8192",
            ["rollout.log_prob_max_token_len_per_gpu=8192", "10240 tokens"],
        ),
        ("node8", f"{ROLLOUT}.tensor_model_parallel_size=3", ["replicas of 3", "8 ranks"]),
        ("micro", f"{ROLLOUT}.tensor_model_parallel_size=2", ["replicas of 2 GPUs", "1 ranks"]),
        ("node8", f"{ACTOR}.veomni.ulysses_parallel_size=3", ["ulysses_parallel_size=3"]),
        ("node8", f"{ACTOR}.veomni.expert_parallel_size=3", ["expert_parallel_size=3", "8 ranks"]),
        ("node8", f"{ACTOR}.veomni.expert_parallel_size=8", ["exports only the first"]),
        ("node8", f"{ACTOR}.optim.lr_warmup_steps=10", ["lr_warmup_steps=10", "ratio"]),
        ("node8", f"{ROLLOUT}.temperature=0.7", ["temperature=0.7", "use_fused_kernels"]),
        ("micro", "algorithm.filter_groups.enable=true", ["filter_groups", "custom_sampler"]),
        (
            "micro",
            "trainer.v1.trainer_mode=separate_async",
            ["trainer_mode=separate_async", "its sampler is AsyncGroupReplayBuffer"],
        ),
        (
            "micro",
            f"+{SAMPLER}.selection={{rule: extremes, normalise: before, lowest: 1, highest: 2}}",
            ["does not divide the 48", "with 3 of 8 kept"],
        ),
        (
            "micro",
            f"+{SAMPLER}.selection={{rule: random, normalise: after, count: 9}}",
            ["keeps 9 of the actor_rollout_ref.rollout.n=8"],
        ),
        (
            "micro",
            "+algorithm.reference_service={address: services/reference.json}",
            ["a URL is wanted, or recipe.services.reference"],
        ),
        (
            "micro",
            "trainer.v1.trainer_mode=sync_reference_service",
            ["algorithm.reference_service belong together"],
        ),
        (
            "micro",
            "+algorithm.reference_service={address: 'http://localhost:1/v1/completions'}",
            ["algorithm.reference_service belong together"],
        ),
        ("micro", "+recipe.services={critic: {model: start/model}}", ["no such service"]),
        ("micro", "+recipe.reward_model={steps: 3}", ["exactly one of hub and train"]),
        ("micro", "data.prompt_key=question", ["data.prompt_key=question", "set prompt"]),
        ("micro", "data.reward_fn_key=source", ["data.reward_fn_key=source", "data_source"]),
        ("micro", "recipe.routing_replay=R4", ["recipe.routing_replay=R4", "choose one"]),
        ("micro", "recipe.routing_replay=R3", [R3, "set true"]),
        ("node8", f"{R3}=true", ["recipe.routing_replay=disabled", "set false"]),
        ("micro", f"{ACTOR}.fsdp_config.router_replay.mode=R2", ["router_replay.mode is R2"]),
        ("node8", f"{ACTOR}.veomni.router_replay.mode=R2", ["router_replay.mode is R2"]),
        ("micro", "reward.num_workers=2", ["reward.num_workers=2", "set 0"]),
        ("node8", "~recipe.models.moe.eos_token", ["recipe.models.moe.eos_token: missing"]),
        ("node8", "recipe.models.moe.chat_template=no.jinja", ["no chat template no.jinja"]),
        (
            "micro",
            "+recipe.evaluation.benchmarks.test.details=[guesses]",
            ["test.details: 'guesses'", "no metric of its grader"],
        ),
        ("node8", "recipe.models.moe.eos_token='<|endoftext|>'", ["<|im_end|>", "<|endoftext|>"]),
    ],
)
def test_a_bad_value_is_refused_by_name(scale, override, words):
    with pytest.raises(ValueError) as error:
        check_config(compose_run(GSPO, scale, "gspo", 1, [override]))
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("variant", "override", "words"),
    [
        ("gspo_r2", "algorithm.rollout_correction.bypass_mode=true", ["R2 records", "bypass_mode"]),
        ("gspo_dense", "recipe.routing_replay=R2", ["recipe.model=dense has no experts"]),
    ],
)
def test_replay_that_cannot_be_is_refused(variant, override, words):
    for scale in ("micro", "node8"):
        with pytest.raises(ValueError) as error:
            check_config(compose_run(GSPO, scale, variant, 1, [override]))
        assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("dimension", "size", "override", "word"),
    [
        ("num_attention_heads", 20, f"{ROLLOUT}.tensor_model_parallel_size=8", "attention heads"),
        ("num_key_value_heads", 6, f"{ROLLOUT}.tensor_model_parallel_size=8", "key-value heads"),
        ("num_attention_heads", 20, f"{ACTOR}.veomni.ulysses_parallel_size=8", "divide 20 heads"),
        ("num_experts", 20, f"{ACTOR}.veomni.expert_parallel_size=8", "divide 20 experts"),
    ],
)
def test_parallel_sizes_must_fit_the_model(monkeypatch, dimension, size, override, word):
    shipped = hub_models()["Qwen/Qwen3-30B-A3B-Base"]["config"]
    monkeypatch.setattr(configuration, "model_config", lambda _: shipped | {dimension: size})
    with pytest.raises(ValueError, match=word):
        check_config(compose_run(GSPO, "node8", "gspo", 1, [override]))


def test_what_the_checks_allow():
    """Values beside the refused ones: the checks are no wider than their reasons."""
    for scale, overrides in (
        (
            "micro",
            [
                "trainer.nnodes=2",
                f"{ACTOR}.ppo_micro_batch_size_per_gpu=16",
                f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu=64",
            ],
        ),
        ("node8", ["trainer.nnodes=2"]),
        ("node8", [f"{ROLLOUT}.tensor_model_parallel_size=8"]),  # 4 key-value heads, each twice
        (
            "node8",
            [f"{ACTOR}.ppo_max_token_len_per_gpu=5120", f"{ACTOR}.veomni.ulysses_parallel_size=2"],
        ),
        (
            "micro",
            ["algorithm.filter_groups.enable=true", "trainer.v1.sampler.custom_sampler.path=null"],
        ),
    ):
        check_config(compose_run(GSPO, scale, "gspo", 1, overrides))


def test_one_mini_batch_must_do_where_responses_leave_the_batch():
    def psr(micro_batch, variant="psr"):
        override = f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu={micro_batch}"
        return compose_run(recipe_folder("psr_nsr"), "micro", variant, 1, [override])

    check_config(psr(64))
    check_config(psr(256, "reinforce"))  # nothing leaves
    with pytest.raises(ValueError, match="weight 0 leave the batch.*128 responses") as error:
        check_config(psr(256))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("recipe", "variant", "override", "words"),
    [
        ("psr_nsr", "psr", "trainer.v1.sampler.custom_sampler.path=null", ["sign_weights"]),
        ("gemma_voting", "old", f"{ACTOR}.strategy=fsdp", ["lora_rank", "fsdp2"]),
        ("gemma_voting", "group_vote", "trainer.v1.sampler.custom_sampler.path=null", ["only the"]),
    ],
)
def test_what_nothing_would_read_is_refused(recipe, variant, override, words):
    with pytest.raises(ValueError) as error:
        check_config(compose_run(recipe_folder(recipe), "micro", variant, 1, [override]))
    assert all(word in str(error.value) for word in words), error.value


def test_rl_starts_from_the_model_after_the_warm_up():
    made = compose_run(recipe_folder("simplerl"), "micro", "warmup_foreign", 1, [])
    check_warmup(made)
    made.config["actor_rollout_ref"]["model"]["path"] = "sft/model"
    with pytest.raises(ValueError, match="path=sft/model: RL after a warm-up starts from start"):
        check_warmup(made)


@pytest.mark.parametrize(
    ("course", "every", "words"),
    [
        (["generall"], 20, "recipe.warmups.heavy.course: 'generall' is no benchmark; did you mean"),
        (["general"], 100, "heavy.course: set the phase's trainer.save_freq to less than its 100"),
        (["general"], 0, "heavy.course: set the phase's trainer.save_freq to less than its 100"),
        ([], 20, "heavy: phase heavy has trainer.save_freq=20; .* `course` alone, remove it"),
    ],
)
def test_a_course_has_benchmarks_and_models_to_evaluate_on_them(course, every, words):
    made = compose_run(recipe_folder("qwen3_ppo"), "micro", "sft_heavy", 1, [])
    check_warmup(made)
    heavy = made.recipe.warmups["heavy"]
    heavy.sft.phases[0]["trainer"]["save_freq"] = every
    made.recipe.warmups["heavy"] = replace(heavy, course=course)
    with pytest.raises(ValueError, match=words):
        check_warmup(made)


def test_the_base_keeps_no_models_on_the_way():
    made = compose_run(recipe_folder("qwen3_ppo"), "micro", "ppo", 1, [])
    made.recipe.sft.phases[1]["trainer"]["save_freq"] = 5
    with pytest.raises(ValueError, match="recipe.sft: phase unlearn has trainer.save_freq=5"):
        check_warmup(made)


def test_an_unknown_key_of_a_phase_names_the_phase():
    made = compose_run(recipe_folder("simplerl"), "micro", "warmup_foreign", 1, [])
    made.recipe.warmups["foreign"].sft.phases[0]["optim"]["lrr"] = 1.0
    with pytest.raises(ValueError, match="phase warmup of SFT: .* key optim.lrr; did you mean"):
        check_warmup(made)
