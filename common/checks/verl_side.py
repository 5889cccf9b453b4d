"""What verl itself says of composed configurations, and the vLLM arguments it would make of them.

Runs in a child process, `python -m common.checks.verl_side <file>`, because importing verl and vLLM
takes tens of seconds; all runs of a command share it. The file holds a list of
`{name, config, sft, model}`; the answer, one JSON line, gives for each name
`{error, built, vllm}`. Weights are not needed: the model is its `config.json` alone, beside a
tokenizer that knows the template's special tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.estimate.dimensions import hub_models, model_config
from common.process import environment, run_child
from common.stages.prepare_model import character_tokenizer, chat_template
from common.stages.sft import phase_config

NO_VLLM = "not built: vllm is not installed here"
ANSWER = "verl_side: "


def verl_says(runs: list[RunConfig]) -> dict[str, dict[str, Any]]:
    """By label of `describe`: `error` (one line or None), `built` (names) and `vllm`."""
    found: dict[str, dict[str, Any]] = {}
    for platform in sorted({r.recipe.platform for r in runs}):
        jobs = [describe(r) for r in runs if r.recipe.platform == platform]
        with tempfile.TemporaryDirectory() as folder:
            work, log = Path(folder) / "jobs.json", Path(folder) / "log.txt"
            work.write_text(json.dumps(jobs))
            env = environment(platform, HF_HUB_OFFLINE="1")
            run_child(["-m", "common.checks.verl_side", str(work)], env, log)
            lines = log.read_text(errors="replace").splitlines()
        answer = next(line for line in lines if line.startswith(ANSWER))
        found |= json.loads(answer.removeprefix(ANSWER))
    return found


def run_name(run: RunConfig) -> str:
    return f"{run.scale}/{run.label}/seed{run.seed}"


def describe(run: RunConfig) -> dict[str, Any]:
    """What the child needs of a run."""
    model, taught = run.recipe.models[run.recipe.model], run.recipe.rejection
    specs = [run.recipe.sft, taught.sft if taught else None]
    if run.recipe.warmup and run.recipe.warmups:
        specs.append(run.recipe.warmups[run.recipe.warmup].sft)
    config = {k: v for k, v in run.config.items() if k not in ("recipe", "scale", "variant")}
    fields = model_config(model)
    if fields is not None and model.build is not None:
        kind = model.build["architecture"]
        fields = fields | {"architectures": [f"{kind}ForCausalLM"], "class": f"{kind}Config"}
    special = hub_models().get(str(model.hub), {}).get("special_tokens", [])
    return {
        "name": run_name(run),
        "config": config,
        "sft": [phase_config(spec, p, run.seed) for spec in specs if spec for p in spec.phases],
        "model": {
            "config": fields,
            "template": chat_template(run).read_text(),
            "eos_token": model.eos_token,
            "special_tokens": special,
        },
    }


def main(path: str) -> None:
    """Answer for every job of the file."""
    answer = {}
    for job in json.loads(Path(path).read_text()):
        try:
            answer[job["name"]] = examine(job)
        except Exception as error:  # whatever verl raises is what the user must read
            text = " ".join(f"{type(error).__name__}: {error}".split())
            answer[job["name"]] = {"error": text[:400], "built": [], "vllm": None}
    print(f"\n{ANSWER}{json.dumps(answer)}", flush=True)


def examine(job: dict[str, Any]) -> dict[str, Any]:
    """verl's own validation, then each dataclass as verl's trainer and workers build them."""
    from omegaconf import OmegaConf
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    config = OmegaConf.create(job["config"])
    phases = [OmegaConf.create(phase) for phase in job["sft"]]
    known = job["model"]["config"] is not None
    models = [config.actor_rollout_ref.model, *(phase.model for phase in phases)]
    vllm = NO_VLLM if config.actor_rollout_ref.rollout.name == "vllm" else None
    with tempfile.TemporaryDirectory() as folder:
        if known:
            write_model(Path(folder), job["model"])
            for node in (*models, config.critic.model):
                node.path = folder
        critic = need_critic(config) and known  # it is validated together with its model
        with contextlib.redirect_stdout(io.StringIO()):
            validate_config(
                config, use_reference_policy=need_reference_policy(config), use_critic=critic
            )
        built = ["validate_config"]
        for part in ("actor", "rollout"):
            omega_conf_to_dataclass(config.actor_rollout_ref[part])
            built.append(part)
        if need_reference_policy(config):
            omega_conf_to_dataclass(OmegaConf.create(reference(job["config"])))
            built.append("ref")
        if critic:
            omega_conf_to_dataclass(config.critic)
            built.append("critic")
        for phase in phases:
            for part in ("engine", "optim", "checkpoint", "profiler"):
                omega_conf_to_dataclass(phase[part])
        built += ["sft"] if phases else []
        if known:
            for node in models:
                omega_conf_to_dataclass(node)
            built.append("model")
            if vllm is not None:
                vllm = vllm_arguments(config)
    return {"error": None, "built": built, "vllm": vllm}


def reference(config: dict[str, Any]) -> dict[str, Any]:
    """The reference policy's keys under the names that verl's worker gives them first.

    verl 0.9.1, workers/engine_workers.py, ActorRolloutRefWorker.init_model.
    """
    ref = dict(config["actor_rollout_ref"]["ref"])
    for key in ("micro_batch_size", "micro_batch_size_per_gpu", "max_token_len_per_gpu"):
        ref[f"ppo_{key}"] = ref.pop(f"log_prob_{key}")
    ref["use_dynamic_bsz"] = ref.pop("log_prob_use_dynamic_bsz")
    ref["ppo_mini_batch_size"] = config["actor_rollout_ref"]["actor"]["ppo_mini_batch_size"]
    return ref


def write_model(folder: Path, model: dict[str, Any]) -> None:
    """A hub folder without weights: `config.json` and a small tokenizer with the chat template."""
    import transformers

    fields = dict(model["config"])
    kind = fields.pop("class", None)
    if kind is None:
        config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    else:
        config = getattr(transformers, kind)(**fields)
    config.save_pretrained(folder)
    tokenizer = character_tokenizer("0123456789", model["template"])
    tokenizer.add_special_tokens({"additional_special_tokens": model["special_tokens"]})
    if model["eos_token"]:
        tokenizer.eos_token = model["eos_token"]
    tokenizer.save_pretrained(folder)


def vllm_arguments(config: Any) -> Any:
    """The `AsyncEngineArgs` of verl's first vLLM server, made by verl's own code without a GPU.

    `vLLMHttpServer.launch_server` turns the rollout's configuration into the words of `vllm serve`,
    has vLLM parse and validate them, and hands the result to `run_server`. Only that last step is
    ours, and `__init__` is left out: it wants a running Ray. (verl 0.9.1,
    workers/rollout/vllm_rollout/vllm_async_server.py)
    """
    try:
        from vllm import platforms  # type: ignore[import-not-found]
    except ImportError:
        return NO_VLLM
    if not platforms.current_platform.device_type:
        # without a GPU vLLM knows no platform, and its parser of arguments asks for one
        platforms.current_platform.device_type = "cuda"
    from verl.workers.rollout.vllm_rollout import vllm_async_server as server_module

    class Server(server_module.vLLMHttpServer):  # type: ignore[misc]
        def __init__(self) -> None:
            self.config = self._init_config(config.actor_rollout_ref.rollout)
            self.model_config = self._init_model_config(config.actor_rollout_ref.model)
            self._validate_configs()
            self._disaggregation_role = "null"
            self.replica_rank = self.node_rank = 0
            self.nnodes = 1
            self.gpus_per_node = config.actor_rollout_ref.rollout.tensor_model_parallel_size
            self.workers: list[Any] = [None] * self.gpus_per_node
            self.made: Any = None

        def _should_profile(self) -> bool:
            return False

        async def run_server(self, args: Any) -> None:
            self.made = server_module.AsyncEngineArgs.from_cli_args(args)

    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        server = Server()
        try:
            asyncio.run(server.launch_server())
        except SystemExit:  # the parser's way to refuse a word
            raise ValueError(said.getvalue().strip().splitlines()[-1]) from None
    keep = ("tensor_parallel_size", "max_model_len", "max_num_seqs", "gpu_memory_utilization")
    made = {key: getattr(server.made, key) for key in (*keep, "dtype", "seed")}
    return made | {"returns routes": getattr(server.made, "enable_return_routed_experts", False)}


if __name__ == "__main__":
    main(sys.argv[1])
