"""What can be known to be wrong before anything starts."""

from __future__ import annotations

import os
import shutil
import subprocess

from common.config import ROOT, STEPS_KEY, RunConfig
from common.evaluation.generation import ENGINES, load_grader

PLATFORMS = ("cpu", "cuda")
SIZES = (
    "data.train_batch_size",
    "actor_rollout_ref.actor.ppo_mini_batch_size",
    "actor_rollout_ref.rollout.n",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu",
    "trainer.save_freq",
    "recipe.gpus",
)


def visible_gpus() -> int:
    """How many GPUs `nvidia-smi` lists (0 without the tool)."""
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def machine_faults(run: RunConfig) -> list[str]:
    """What this machine lacks for the run: GPUs, disk. Empty when it can run here."""
    faults = []
    needed = run.recipe.gpus if run.recipe.platform == "cuda" else 0
    if not os.environ.get("RAY_ADDRESS") and visible_gpus() < needed:
        faults.append(
            f"scale={run.scale} needs {needed} GPUs and this machine has {visible_gpus()}; "
            "use scale=micro, or set RAY_ADDRESS to a cluster with them"
        )
    runs = ROOT / "runs"
    free = shutil.disk_usage(runs if runs.exists() else ROOT).free / 1e9
    if free < run.recipe.disk_gb:
        faults.append(
            f"{free:.1f} GB of disk are free, scale={run.scale} needs {run.recipe.disk_gb:g} GB; "
            "free some space"
        )
    return faults


def check_config(run: RunConfig) -> None:
    """Raise ValueError for a configuration that verl would refuse late or misread."""
    check_choices(run)
    for key in (*SIZES, STEPS_KEY):
        value = run.get(key)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{key}={value}: a whole number of at least 1 is wanted")
    prompts, mini, samples, micro, *_ = (run.get(key) for key in SIZES)
    ranks = run.recipe.gpus
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
    dynamic = run.get("actor_rollout_ref.actor.use_dynamic_bsz")
    if not dynamic and (mini * samples // ranks) % micro:
        raise ValueError(
            f"actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu={micro} does not divide the "
            f"{mini * samples // ranks} responses of a mini-batch on each rank; change it"
        )
    if samples < 2 and run.get("algorithm.adv_estimator") == "grpo":
        raise ValueError(
            "actor_rollout_ref.rollout.n=1: a group-relative advantage needs 2 responses or more"
        )
    contents = run.get("actor_rollout_ref.actor.checkpoint.save_contents")
    if "hf_model" not in contents:
        raise ValueError(
            f"actor_rollout_ref.actor.checkpoint.save_contents={contents}: add hf_model; "
            "the exported model is what gets evaluated"
        )


def check_choices(run: RunConfig) -> None:
    """Raise ValueError where a key names something that is not there."""
    recipe = run.recipe
    for key, value, known in (
        ("recipe.platform", recipe.platform, PLATFORMS),
        ("recipe.evaluation.engine", recipe.evaluation.engine, ENGINES),
        ("recipe.model", recipe.model, tuple(recipe.models)),
    ):
        if value not in known:
            raise ValueError(f"{key}={value}: choose one of {', '.join(known)}")
    model = recipe.models[recipe.model]
    if (model.build is None) == (model.hub is None):
        raise ValueError(f"recipe.models.{recipe.model}: set exactly one of hub and build")
    for key in ("architecture", "config", "characters", "chat_template"):
        if model.build is not None and key not in model.build:
            raise ValueError(f"recipe.models.{recipe.model}.build.{key}: missing")
    if not (ROOT / "data" / f"{recipe.data.builder}.py").is_file():
        raise ValueError(f"recipe.data.builder: there is no data/{recipe.data.builder}.py")
    load_grader(run.get("reward.custom_reward_function"))
    for name, benchmark in recipe.evaluation.benchmarks.items():
        if benchmark.samples < 1:
            raise ValueError(f"recipe.evaluation.benchmarks.{name}.samples: at least 1 is wanted")
