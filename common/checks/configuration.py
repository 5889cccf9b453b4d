"""What verl or vLLM would refuse late, or misread, in a composed configuration."""

from __future__ import annotations

from typing import Any

from common.checks.stop import check_stop_token
from common.checks.warmup import check_phase, check_warmup
from common.config import ROOT, STEPS_KEY, RunConfig
from common.estimate.dimensions import dimensions, model_config
from common.estimate.memory import ulysses
from common.evaluation.generation import ENGINES
from common.rewards import group, selection
from common.rewards.selection import Selection
from common.schema import build, suggest
from common.stages.loggers import KNOWN
from common.stages.reward import benchmark_rules
from common.stages.services import check_services
from common.stages.train import TRAINERS
from data import dependencies
from data.parquet import PROMPT_COLUMNS

PLATFORMS = ("cpu", "cuda")
REPLAY = ("disabled", "R2", "R3")
METHODS = ("rl", "rejection", "sft")
CHECKPOINT_ENGINE = "common.plugin.checkpoint_engine"
SIZES = (
    "data.train_batch_size",
    "actor_rollout_ref.actor.ppo_mini_batch_size",
    "actor_rollout_ref.rollout.n",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu",
    "trainer.save_freq",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu",
    "recipe.gpus",
    "trainer.nnodes",
)


def check_config(run: RunConfig) -> None:
    """Raise ValueError for a configuration that verl would refuse late or misread."""
    check_choices(run)
    for key in (*SIZES, STEPS_KEY):
        value = run.get(key)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{key}={value}: a whole number of at least 1 is wanted")
    check_batches(run)
    check_lengths(run)
    check_parallel(run)
    check_trainer(run)
    check_separate(run)
    check_replay(run)
    check_stop_token(run)
    check_warmup(run)


def check_batches(run: RunConfig) -> None:
    """Prompts, responses and micro-batches must divide as verl divides them."""
    prompts, mini, samples, micro, _, log_prob, *_ = (run.get(key) for key in SIZES)
    ranks = run.ranks
    if run.get("trainer.n_gpus_per_node") != run.recipe.gpus:
        raise ValueError(
            f"trainer.n_gpus_per_node={run.get('trainer.n_gpus_per_node')} and "
            f"recipe.gpus={run.recipe.gpus} differ; set recipe.gpus alone, it sets both"
        )
    if prompts % mini:
        raise ValueError(
            f"data.train_batch_size={prompts} is no multiple of actor_rollout_ref.actor."
            f"ppo_mini_batch_size={mini} (both count prompts); change one"
        )
    if (mini * samples) % ranks:
        raise ValueError(
            f"a mini-batch of {mini} prompts x {samples} responses cannot be split over {ranks} "
            "ranks; change actor_rollout_ref.actor.ppo_mini_batch_size"
        )
    if samples < 2 and run.get("algorithm.adv_estimator") == "grpo":
        raise ValueError(
            "actor_rollout_ref.rollout.n=1: a group-relative advantage needs 2 responses or more"
        )
    dynamic = run.get("actor_rollout_ref.actor.use_dynamic_bsz")
    if not dynamic and (mini * samples // ranks) % micro:
        raise ValueError(
            f"actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu={micro} does not divide the "
            f"{mini * samples // ranks} responses of a mini-batch on each rank; change it"
        )
    if not dynamic and (prompts * samples // ranks) % log_prob:
        raise ValueError(
            f"actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu={log_prob} does not "
            f"divide the {prompts * samples // ranks} responses of a step on each rank; change it"
        )
    sampler = run.get("trainer.v1.sampler.sampler_kwargs") or {}
    if sampler.get("selection"):
        check_selection(run, build(Selection, sampler["selection"], selection.KEY))
    weights = sampler.get("sign_weights") or {}
    if not dynamic and 0 in weights.values() and (mini * samples // ranks) % log_prob:
        raise ValueError(
            f"actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu={log_prob}: responses of "
            "weight 0 leave the batch, and a single mini-batch may be left, whose "
            f"{mini * samples // ranks} responses on each rank it does not divide; change it"
        )


def check_selection(run: RunConfig, chosen: Selection) -> None:
    """The kept responses of a step must fill mini-batches, which verl counts in prompts with all
    their samples: it would fill the last one up with rows that are computed for nothing."""
    samples = run.get("actor_rollout_ref.rollout.n")
    chosen.check(samples)
    left = run.get("data.train_batch_size") * chosen.kept_of(samples)
    left //= synchronised_every(run)
    keys = ["actor_rollout_ref.actor.ppo_mini_batch_size"]
    keys += ["critic.ppo_mini_batch_size"] if run.get("critic.enable") else []
    for key in keys:
        if left % (run.get(key) * samples):
            raise ValueError(
                f"{key}={run.get(key)}: a mini-batch of {run.get(key) * samples} responses does "
                f"not divide the {left} that {selection.KEY} leaves of a step; with "
                f"{chosen.kept_of(samples)} of {samples} kept a mini-batch of p prompts is "
                f"p x {chosen.kept_of(samples)} / {samples}"
            )
    key = "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu"
    each = left // run.ranks
    if not run.get("actor_rollout_ref.actor.use_dynamic_bsz") and each % run.get(key):
        raise ValueError(
            f"{key}={run.get(key)} does not divide the {each} responses on each rank that "
            f"{selection.KEY} leaves of a step; change it"
        )


def synchronised_every(run: RunConfig) -> int:
    """Parts of a step that are each sampled and trained on before the sampler gets new weights."""
    return int(run.get("trainer.v1.separate_async.parameter_sync_step")) if run.asynchronous else 1


def check_separate(run: RunConfig) -> None:
    """What verl's `separate_async` asserts late: a sampler of its own, and a way to it."""
    if not run.asynchronous:
        return
    mode = run.get("trainer.v1.trainer_mode")
    rollout, where = run.get("actor_rollout_ref.rollout"), "actor_rollout_ref.rollout"
    if not run.samplers:
        raise ValueError(
            f"trainer.v1.trainer_mode={mode}: it samples on ranks of its own; set {where}.nnodes "
            f"and {where}.n_gpus_per_node"
        )
    engine, cpu = rollout["checkpoint_engine"], run.recipe.platform == "cpu"
    own = (engine["backend"], engine["custom_backend_module"])
    if engine["backend"] == "naive" or (cpu and own != ("gloo", CHECKPOINT_ENGINE)):
        raise ValueError(
            f"{where}.checkpoint_engine.backend={engine['backend']}: {mode} sends its weights to "
            f"other processes; set gloo and custom_backend_module={CHECKPOINT_ENGINE}"
        )
    parts, prompts = synchronised_every(run), run.get("data.train_batch_size")
    key = "trainer.v1.separate_async.parameter_sync_step"
    if prompts % parts:
        raise ValueError(f"{key}={parts} does not divide data.train_batch_size={prompts}")
    if cpu and parts > 1:
        # utils/fsdp_utils.py, fsdp2_sharded_save_to_cpu: `.cpu()` of what is there is no copy
        raise ValueError(
            f"{key}={parts}: on a CPU verl's copy of the old policy is the policy itself; set 1"
        )


def check_lengths(run: RunConfig) -> None:
    """Prompt and response must fit the sampler, the token budget and the model's positions."""
    longest = run.get("data.max_prompt_length") + run.get("data.max_response_length")
    what = f"data.max_prompt_length + data.max_response_length = {longest} tokens"
    limit = run.get("actor_rollout_ref.rollout.max_model_len")
    if limit is not None and limit < longest:
        raise ValueError(
            f"actor_rollout_ref.rollout.max_model_len={limit}: {what} are asked for; raise it"
        )
    actor = run.get("actor_rollout_ref.actor")
    if actor["use_dynamic_bsz"]:
        for key, budget in (
            ("actor.ppo_max_token_len_per_gpu", actor["ppo_max_token_len_per_gpu"]),
            (
                "rollout.log_prob_max_token_len_per_gpu",
                run.get("actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu"),
            ),
        ):
            if budget * ulysses(engine(run)) < longest:
                raise ValueError(
                    f"actor_rollout_ref.{key}={budget}: one sample may have {longest} tokens "
                    f"(on {ulysses(engine(run))} sequence-parallel ranks); raise it"
                )
    config = model_config(run.recipe.models[run.recipe.model])
    positions = config["max_position_embeddings"] if config else longest
    if max(longest, limit or 0) > positions:
        raise ValueError(
            f"the model of recipe.model={run.recipe.model} has {positions} positions and "
            f"{what} (rollout.max_model_len={limit}); lower them"
        )


def engine(run: RunConfig) -> Any:
    """The configuration of the actor's training engine."""
    actor = run.get("actor_rollout_ref.actor")
    return actor["veomni" if actor["strategy"] == "veomni" else "fsdp_config"]


def check_parallel(run: RunConfig) -> None:
    """Ranks, heads and experts must divide. vLLM and FSDP2 pad the vocabulary themselves."""
    rollout = run.get("actor_rollout_ref.rollout")
    tensor = rollout["tensor_model_parallel_size"]
    replica = tensor * rollout["data_parallel_size"] * rollout["pipeline_model_parallel_size"]
    sequence, where = ulysses(engine(run)), "actor_rollout_ref.rollout"
    experts_over = engine(run).get("expert_parallel_size", 1)
    pool = run.samplers or run.ranks
    if pool % replica:
        raise ValueError(
            f"{where}.tensor_model_parallel_size={tensor}: replicas of {replica} GPUs do not "
            f"divide {pool} ranks; change it"
        )
    for size, total, key, what in (
        (sequence, run.ranks, "ulysses_parallel_size", "ranks"),
        (experts_over, run.ranks, "expert_parallel_size", "ranks"),
    ):
        if total % size:
            raise ValueError(f"actor: {key}={size} does not divide {total} {what}; change it")
    config = model_config(run.recipe.models[run.recipe.model])
    if config is None:
        return
    d = dimensions(config)
    if d.heads % tensor or (d.kv_heads % tensor and tensor % d.kv_heads):
        raise ValueError(
            f"{where}.tensor_model_parallel_size={tensor} does not fit {d.heads} attention heads "
            f"and {d.kv_heads} key-value heads; change it"
        )
    if d.heads % sequence:
        raise ValueError(f"actor: ulysses_parallel_size={sequence} does not divide {d.heads} heads")
    if d.experts % experts_over:
        raise ValueError(
            f"actor: expert_parallel_size={experts_over} does not divide {d.experts} experts"
        )


def check_trainer(run: RunConfig) -> None:
    """Keys that verl would not read, or whose result it would not save."""
    sampler = run.get("trainer.v1.sampler.custom_sampler")["path"]
    mode = run.get("trainer.v1.trainer_mode")
    if sampler and run.get("algorithm.filter_groups")["enable"]:
        raise ValueError(
            "algorithm.filter_groups.enable=true: the custom sampler filters nothing; set "
            "trainer.v1.sampler.custom_sampler.path=null to let verl's own sampler do it"
        )
    sync = mode == "sync" or (mode in TRAINERS and mode.startswith("sync_"))
    if mode == "sync_token_selection" and "token_selection" not in run.get("algorithm"):
        raise ValueError(f"trainer.v1.trainer_mode={mode}: set algorithm.token_selection for it")
    name = run.get("trainer.v1.sampler.custom_sampler")["name"]
    wanted = "GroupReplayBuffer" if sync else "AsyncGroupReplayBuffer"
    if sampler == "pkg://common.plugin.sampler" and name != wanted:
        raise ValueError(
            f"trainer.v1.trainer_mode={mode}: its sampler is {wanted}; set "
            "trainer.v1.sampler.custom_sampler.name"
        )
    ours = run.get("trainer.v1.sampler.sampler_kwargs") or {}
    for key in ("group_reward", "sign_weights", "selection"):
        if not sampler and ours.get(key):
            raise ValueError(
                "trainer.v1.sampler.custom_sampler.path=null: only the custom sampler reads "
                f"{key} of sampler_kwargs; set it, or leave that out"
            )
    if ours.get("group_reward") is not None:
        build(group.GroupReward, ours["group_reward"], group.KEY)
    check_services(run)
    lora = run.get("actor_rollout_ref.model")
    if lora["lora_rank"] and run.get("actor_rollout_ref.actor.strategy") != "fsdp2":
        raise ValueError(
            "actor_rollout_ref.model.lora_rank: adapters are merged into the exported model with "
            "actor.strategy=fsdp2 alone; set it"
        )
    rollout = run.get("actor_rollout_ref.rollout.name")
    if rollout == "transformers" and lora["lora_rank"] and not lora["lora"]["merge"]:
        raise ValueError(
            "actor_rollout_ref.model.lora.merge=false: rollout.name=transformers takes merged "
            "weights; set true"
        )
    signs = run.get("algorithm").get("sign_weights")
    if run.get("algorithm.adv_estimator") == "weighted_signs" and not signs:
        raise ValueError(
            "algorithm.adv_estimator=weighted_signs: set algorithm.sign_weights.correct and "
            "algorithm.sign_weights.incorrect"
        )
    local = run.get("actor_rollout_ref.rollout.agent").get("agent_loop_manager_class")
    if local and run.get("reward.num_workers") != 0:
        raise ValueError(
            f"reward.num_workers={run.get('reward.num_workers')}: {local} scores by itself; set 0"
        )
    actor = run.get("actor_rollout_ref.actor")
    if actor["strategy"] == "veomni" and (actor["optim"].get("lr_warmup_steps") or 0) > 0:
        raise ValueError(
            f"actor_rollout_ref.actor.optim.lr_warmup_steps={actor['optim']['lr_warmup_steps']}: "
            "verl's VeOmni engine reads lr_warmup_steps_ratio only; set that"
        )
    fused = run.get("actor_rollout_ref.model.use_fused_kernels")
    temperature = run.get("actor_rollout_ref.rollout.temperature")
    if actor["strategy"] == "veomni" and fused and temperature != 1.0:
        raise ValueError(
            f"actor_rollout_ref.rollout.temperature={temperature}: VeOmni's log-probabilities "
            "(actor_rollout_ref.model.use_fused_kernels=true) are those of temperature 1"
        )
    if run.get("trainer.max_actor_ckpt_to_keep") == 1:
        raise ValueError(
            "trainer.max_actor_ckpt_to_keep=1: a run that is stopped while it saves would lose "
            "both checkpoints; write 2 or more, or null to keep all"
        )
    contents = actor["checkpoint"]["save_contents"]
    if "hf_model" not in contents:
        raise ValueError(
            f"actor_rollout_ref.actor.checkpoint.save_contents={contents}: add hf_model; "
            "the exported model is what gets evaluated"
        )
    if engine(run).get("expert_parallel_size", 1) > 1:
        # utils/checkpoint/fsdp_checkpoint_manager.py:425 gathers over FSDP's ranks alone
        raise ValueError(
            "actor_rollout_ref.actor.veomni.expert_parallel_size: verl 0.9.1 exports only the "
            "first expert-parallel rank's experts; set it to 1"
        )
    columns = {"data.prompt_key": "prompt", "data.reward_fn_key": "data_source"}
    for key in columns:
        if run.get(key) not in PROMPT_COLUMNS:
            raise ValueError(
                f"{key}={run.get(key)}: the data has no such column "
                f"(there: {', '.join(PROMPT_COLUMNS)}); set {columns[key]}"
            )


def check_replay(run: RunConfig) -> None:
    """Routing replay needs experts, and a source of routes that is switched on."""
    mode = run.recipe.routing_replay
    if mode not in REPLAY:
        raise ValueError(f"recipe.routing_replay={mode}: choose one of {', '.join(REPLAY)}")
    key = "actor_rollout_ref.rollout.enable_rollout_routing_replay"
    given = engine(run).get("router_replay", {}).get("mode", "disabled")
    if given != mode:
        raise ValueError(
            f"recipe.routing_replay={mode}, but the training engine's router_replay.mode is "
            f"{given}: set the first alone, and let the platform hand it on"
        )
    if mode == "R3" and not run.get(key):
        raise ValueError(
            f"recipe.routing_replay=R3 and {key}=false: R3 takes the rollout's routes; set true"
        )
    veomni = run.get("actor_rollout_ref.actor.strategy") == "veomni"
    if veomni and mode != "R3" and run.get(key):
        raise ValueError(
            f"recipe.routing_replay={mode} and {key}=true: VeOmni uses the rollout's routes in R3 "
            "only; set false"
        )
    if mode == "R2" and run.get("algorithm.rollout_correction.bypass_mode"):
        raise ValueError(
            "recipe.routing_replay=R2 records in the pass that algorithm.rollout_correction."
            "bypass_mode=true leaves out; change one"
        )
    config = model_config(run.recipe.models[run.recipe.model])
    if mode != "disabled" and config is not None and not dimensions(config).experts:
        raise ValueError(
            f"recipe.routing_replay={mode}: the model of recipe.model={run.recipe.model} has no "
            "experts; set disabled"
        )


def check_choices(run: RunConfig) -> None:
    """Raise ValueError where a key names something that is not there."""
    recipe = run.recipe
    for key, value, known in (
        ("recipe.platform", recipe.platform, PLATFORMS),
        ("recipe.evaluation.engine", recipe.evaluation.engine, ENGINES),
        ("recipe.method", recipe.method, METHODS),
        ("recipe.model", recipe.model, tuple(recipe.models)),
    ):
        if value not in known:
            raise ValueError(f"{key}={value}: choose one of {', '.join(known)}")
    loggers = run.get("trainer.logger")
    if not isinstance(loggers, list) or not set(loggers) <= set(KNOWN):
        raise ValueError(f"trainer.logger={loggers}: write a list with some of {', '.join(KNOWN)}")
    if recipe.method == "rejection" and recipe.rejection is None:
        raise ValueError("recipe.method=rejection: the scale has no recipe.rejection; add it")
    if recipe.rejection:
        check_phase(run, recipe.rejection.sft, "recipe.rejection.sft")
    model = recipe.models[recipe.model]
    if (model.build is None) == (model.hub is None):
        raise ValueError(f"recipe.models.{recipe.model}: set exactly one of hub and build")
    for key in ("architecture", "config", "characters", "chat_template"):
        if model.build is not None and key not in model.build:
            raise ValueError(f"recipe.models.{recipe.model}.build.{key}: missing")
    for key in ("chat_template", "eos_token"):
        if model.hub is not None and getattr(model, key) is None:
            raise ValueError(f"recipe.models.{recipe.model}.{key}: missing")
    if not (ROOT / "data" / f"{recipe.data.builder}.py").is_file():
        raise ValueError(f"recipe.data.builder: there is no data/{recipe.data.builder}.py")
    dependencies.inputs(recipe.data.builder, recipe.data.options)
    rules = benchmark_rules(run)
    for name, benchmark in recipe.evaluation.benchmarks.items():
        if benchmark.samples < 1:
            raise ValueError(f"recipe.evaluation.benchmarks.{name}.samples: at least 1 is wanted")
        metrics = rules[name].metrics
        for detail in benchmark.details:
            if detail not in metrics:
                raise ValueError(
                    f"recipe.evaluation.benchmarks.{name}.details: {detail!r} is no metric of its "
                    f"grader; there is {', '.join(metrics) or 'none'}{suggest(detail, metrics)}"
                )
        if benchmark.chat_template and not (run.folder / benchmark.chat_template).is_file():
            raise ValueError(
                f"recipe.evaluation.benchmarks.{name}.chat_template: there is no "
                f"{benchmark.chat_template} beside recipe.yaml"
            )
