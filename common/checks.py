"""What can be known to be wrong before anything starts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess

from common.config import ROOT, RunConfig


def visible_gpus() -> int:
    """How many GPUs `nvidia-smi` lists (0 without the tool)."""
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def machine_faults(run: RunConfig) -> list[str]:
    """What this machine lacks for the run: GPUs, disk. Empty when it can run here."""
    faults = []
    if " " in str(ROOT):
        faults.append(f"Ray cannot start workers below a folder with a space; move {ROOT}")
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


def warnings_of(run: RunConfig) -> list[str]:
    return machine_faults(run)


def check_config(run: RunConfig) -> None:
    """Raise ValueError for a configuration that verl would refuse late or misread."""
    get = run.get
    prompts, mini = get("data.train_batch_size"), get("actor_rollout_ref.actor.ppo_mini_batch_size")
    samples, ranks = get("actor_rollout_ref.rollout.n"), run.recipe.gpus
    micro = get("actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu")
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
    if not get("actor_rollout_ref.actor.use_dynamic_bsz") and (mini * samples // ranks) % micro:
        raise ValueError(
            f"actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu={micro} does not divide the "
            f"{mini * samples // ranks} responses of a mini-batch on each rank; change it"
        )
    if samples < 2 and get("algorithm.adv_estimator") == "grpo":
        raise ValueError(
            "actor_rollout_ref.rollout.n=1: a group-relative advantage needs 2 responses or more"
        )
    if int(get("trainer.total_training_steps") or 0) < 1:
        raise ValueError("trainer.total_training_steps: at least 1 is wanted")
    if get("trainer.save_freq") < 1:
        raise ValueError(
            "trainer.save_freq: at least 1 is wanted; the last checkpoint is what gets evaluated"
        )
    grader = str(get("reward.custom_reward_function.path"))
    if not grader.startswith("pkg://") or importlib.util.find_spec(grader[6:]) is None:
        raise ValueError(
            f"reward.custom_reward_function.path={grader}: write pkg://<module of this repository>"
        )
    for name, benchmark in run.recipe.evaluation.benchmarks.items():
        if benchmark.samples < 1:
            raise ValueError(f"recipe.evaluation.benchmarks.{name}.samples: at least 1 is wanted")
