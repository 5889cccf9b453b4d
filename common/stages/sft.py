"""Stage `sft`: the recipe's phases of supervised fine-tuning, each by verl's SFT trainer."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

from common.config import RunConfig, compose_sft
from common.console import say
from common.process import environment, run_child
from common.results.provenance import sha256_json
from common.runs import read_json, shared_stage, source_digest, write_json
from common.schema import SFT, Recipe
from common.stages.progress import Follower

PRIMING = "priming"  # the phase that recipe.priming chooses the file of


def sft(run: RunConfig, data: Path, model: Path) -> Path:
    """The folder whose `model/` is the model after the last phase (the given one without SFT)."""
    spec = run.recipe.sft
    found = phases(run.recipe)
    file = data / f"{run.recipe.priming}.parquet"
    if run.recipe.priming and not file.exists():  # known before the phases in front of it
        known = ", ".join(sorted(path.stem for path in data.glob("*.parquet")))
        raise ValueError(f"recipe.priming={run.recipe.priming}: the data has {known}")
    configs = [phase_config(spec, p, run.seed) for p in found] if spec else []
    # the phases before the priming are a stage of their own, which the arms of one seed share
    shared = [p["name"] for p in found].index(PRIMING) if run.recipe.priming and found else 0
    start = model
    for part in (slice(0, shared), slice(shared, None)) if shared else (slice(None),):
        start = _stage(run, data, start, found[part], configs[part])
    return start


def phases(recipe: Recipe) -> list[dict[str, Any]]:
    """The phases of a run, with the file of the priming filled in; without it, those before."""
    found = []
    for phase in recipe.sft.phases if recipe.sft else []:
        if phase["name"] == PRIMING:
            if recipe.priming is None:
                continue
            files = {"train_files": f"data/{recipe.priming}.parquet"}
            phase = phase | {"data": phase.get("data", {}) | files}
        found.append(phase)
    return found


def _stage(
    run: RunConfig,
    data: Path,
    model: Path,
    phases: list[dict[str, Any]],
    configs: list[dict[str, Any]],
) -> Path:
    """The phases one after another as one shared stage, from `model`, a stage that has a model."""
    inputs = {
        "data": read_json(data / "stage.json")["key"],
        "model": read_json(model / "stage.json")["key"],
        "phases": configs,
        "source": source_digest("common/plugin/engines_cpu.py", "common/stages/sft.py"),
    }
    first = model / "model" if (model / "model").exists() else model

    def make(folder: Path) -> None:
        # in an order that can be taken up again wherever it was interrupted
        if not (folder / "model").exists():
            start = first
            for phase, config in zip(phases, configs, strict=True):
                start = run_phase(run, folder / phase["name"], config, data, start)
                metrics = folder / phase["name"] / "metrics.jsonl"
                shutil.copy(metrics, folder / f"{phase['name']}.jsonl")
            if start == first:
                (folder / "model").symlink_to(Path("..") / model.name)
            else:
                start.rename(folder / "model")
        for phase in phases:
            shutil.rmtree(folder / phase["name"], ignore_errors=True)

    return shared_stage("sft", inputs, make, resumable=True)


def phase_config(spec: SFT, phase: dict[str, Any], seed: int) -> dict[str, Any]:
    """verl's full SFT configuration of one phase, without paths of this machine."""
    delta = {key: value for key, value in phase.items() if key != "name"}
    fixed = {
        "trainer": {
            "seed": seed,
            "total_epochs": 1000,
            "save_freq": delta["trainer"]["total_training_steps"],
            "test_freq": -1,
            "logger": ["console", "file"],
            "project_name": "sft",
            "experiment_name": phase["name"],
        },
        "engine": {"seed": seed},
        "checkpoint": {"save_contents": ["model", "optimizer", "extra", "hf_model"]},
    }
    where = f"recipe.sft.phases.{phase['name']}"
    return compose_sft([spec.trainer, delta, fixed], where, spec.engine)


def run_phase(
    run: RunConfig, folder: Path, config: dict[str, Any], data: Path, model: Path
) -> Path:
    """Train one phase in `folder`; returns the folder of its exported model."""
    steps = config["trainer"]["total_training_steps"]
    exported = folder / "checkpoints" / f"global_step_{steps}" / "huggingface"
    marker, identity = folder / "finished.json", sha256_json(config)
    if marker.exists() and read_json(marker) == identity:
        return exported
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = copy.deepcopy(config)  # the given one is part of the stage's key
    config["data"]["train_files"] = str(data / Path(config["data"]["train_files"]).name)
    config["model"]["path"] = str(model)
    config["trainer"]["default_local_dir"] = str(folder / "checkpoints")
    # JSON is YAML: Hydra reads it as the primary configuration.
    write_json(folder / "config.yaml", config)
    metrics = folder / "metrics.jsonl"
    follower = Follower(f"sft {folder.name}", metrics, steps, {"loss": "train/loss"})
    say(f"sft: phase {folder.name}, {steps} steps of {config['data']['train_batch_size']} rows")
    command = ["-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", str(run.recipe.gpus)]
    command += ["-m", "verl.trainer.sft_trainer", "--config-path", str(folder)]
    command += ["--config-name", "config", f"hydra.run.dir={folder}", "hydra.output_subdir=null"]
    env = environment(run.recipe.platform, VERL_FILE_LOGGER_PATH=str(metrics))
    with follower:
        run_child(command, env, folder / "log.txt", follower.poll)
    write_json(marker, identity)
    return exported
