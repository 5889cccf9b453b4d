"""One run from composition to record, and the list of runs that a command line asks for."""

from __future__ import annotations

import time
from pathlib import Path

from omegaconf import OmegaConf

from common.checks import check_config, machine_faults
from common.config import RunConfig, compose_run, recipe_folder, split_words
from common.console import say
from common.process import end_left_over
from common.runs import link, locked, relative
from common.stages.evaluate import evaluate, evaluate_start
from common.stages.prepare_data import prepare_data
from common.stages.prepare_model import prepare_model
from common.stages.record import record
from common.stages.rejection import rejection
from common.stages.reward import check_rewards
from common.stages.reward_model import reward_model
from common.stages.sft import sft
from common.stages.train import train
from common.stages.warmup import check_taught, warm_up, warm_up_alone

METHODS = {"rl": train, "rejection": rejection, "sft": warm_up_alone}


def plan(recipe: str, words: list[str], require_machine: bool = True) -> list[RunConfig]:
    """The runs of a command line, every one composed and checked before the first starts."""
    folder = recipe_folder(recipe)
    reserved, overrides = split_words(words)
    own = OmegaConf.load(folder / "recipe.yaml").recipe
    scales = reserved.get("scale", ["micro"])
    variants = reserved.get("variant") or list(own.variants)
    seeds = [int(s) for s in reserved.get("seed", own.seeds)]
    runs = [
        compose_run(folder, scale, variant, seed, overrides)
        for scale in scales
        for seed in seeds
        for variant in variants
    ]
    for run in runs:
        check_config(run)
        faults = machine_faults(run) if require_machine else []
        if faults:
            raise ValueError(faults[0])
    return runs


def prepare(run: RunConfig, argv: list[str]) -> tuple[Path, Path]:
    """The folders of the data and of the model that RL starts from, linked into the run's folder.

    A warm-up comes between the base and RL; with `method: sft` it takes RL's place, and what it
    starts from is the base.
    """
    data = prepare_data(run)
    link(run.run_dir, "data", data)
    check_rewards(run)
    model = prepare_model(run)
    link(run.run_dir, "model", model)
    check_taught(run, data)  # before the base is trained
    start = sft(run, data, model)
    link(run.run_dir, "sft", start)
    if run.recipe.reward_model and run.recipe.method == "rl":
        link(run.run_dir, "reward_model", reward_model(run, data, start))
    if run.recipe.warmup:
        warmed = warm_up(run, data, start, lambda other: trained(other, argv))
        start = start if run.recipe.method == "sft" else warmed
    link(run.run_dir, "start", start)
    return data, start


def trained(run: RunConfig, argv: list[str]) -> Path:
    """The exported model of an arm that another one learns from, trained where it is not there."""
    waiting = f"{run.name} {run.label} seed {run.seed}: another process is running it; waiting"
    with locked(run.run_dir / "lock", waiting):
        end_left_over(run.run_dir)
        say(f"{run.name} {run.label} seed {run.seed}: the warm-up learns from this arm")
        data, start = prepare(run, argv)
        return train(run, run.run_dir, data, start, argv)


def execute(run: RunConfig, argv: list[str], fresh: bool) -> Path:
    """All stages of one run; returns the path of its record.

    Only one process may work in a run's folder; a second one is refused.
    """
    with locked(run.run_dir / "lock", None):
        end_left_over(run.run_dir)
        if fresh:
            set_aside(run)
        words = f"scale={run.scale} variant={run.label} seed={run.seed}"
        say(f"{run.name} {words} ({relative(run.run_dir)})")
        data, start = prepare(run, argv)
        link(run.run_dir, "evaluate_base", evaluate_start(run, run.run_dir, data, start))
        exported = METHODS[run.recipe.method](run, run.run_dir, data, start, argv)
        evaluate(run, run.run_dir, data, exported)
        return record(run, run.run_dir)


def set_aside(run: RunConfig) -> None:
    """Rename what this run made before; nothing is deleted."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for name in ("train", "evaluate", "record", "export"):
        path = run.run_dir / name
        if path.exists():
            path.rename(run.run_dir / f"{name}.before-{stamp}")
            say(f"set aside {relative(path)} as {name}.before-{stamp}")
