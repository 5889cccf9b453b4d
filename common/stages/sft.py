"""Stage `sft`: the recipe's phases of supervised fine-tuning, each by verl's SFT trainer."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

from pyarrow import parquet

from common.config import RunConfig, compose_sft
from common.console import say
from common.process import environment, run_child
from common.results.provenance import sha256_json
from common.runs import (
    module_sources,
    read_json,
    relative,
    shared_stage,
    source_digest,
    write_json,
)
from common.schema import SFT
from common.stages.progress import Follower


def sft(run: RunConfig, data: Path, model: Path) -> Path:
    """The folder whose `model/` is the model after the last phase (the given one without SFT)."""
    return fine_tune(run, run.recipe.sft, data, model, model)


def fine_tune(run: RunConfig, spec: SFT | None, data: Path, model: Path, start: Path) -> Path:
    """The same for the phases of `spec`, on the files of the stage `data`, from the weights in
    `start`, which the stage `model` has made."""
    phases = spec.phases if spec else []
    configs = [phase_config(spec, p, run.seed) for p in phases] if spec else []
    inputs = {
        "data": read_json(data / "stage.json")["key"],
        "model": read_json(model / "stage.json")["key"],
        "phases": configs,
        "source": source_digest(*_sources(configs)),
    }

    def make(folder: Path) -> None:
        # in an order that can be taken up again wherever it was interrupted
        if not (folder / "model").exists():
            last = start
            for phase, config in zip(phases, configs, strict=True):
                last = run_phase(run, folder / phase["name"], config, data, last)
                metrics = folder / phase["name"] / "metrics.jsonl"
                shutil.copy(metrics, folder / f"{phase['name']}.jsonl")
                keep_on_the_way(folder / phase["name"], folder, last)
            if last == start:
                (folder / "model").symlink_to(Path("..") / start.name)
            else:
                last.rename(folder / "model")
        for phase in phases:
            shutil.rmtree(folder / phase["name"], ignore_errors=True)

    return shared_stage("sft", inputs, make, resumable=True)


def _sources(configs: list[dict[str, Any]]) -> list[str]:
    """Files whose change may change what the phases train."""
    found = {"common/plugin/engines.py", "common/plugin/seeded.py", "common/stages/sft.py"}
    for config in configs:
        if config["model"]["lora_rank"]:
            found.add("common/plugin/lora.py")
        path = config["data"]["custom_cls"]["path"] or ""
        found |= set(module_sources(path.removeprefix("pkg://"))) if path else set()
    return sorted(found)


def phase_config(spec: SFT, phase: dict[str, Any], seed: int) -> dict[str, Any]:
    """verl's full SFT configuration of one phase, without paths of this machine."""
    delta = {key: value for key, value in phase.items() if key != "name"}
    steps = delta["trainer"]["total_training_steps"]
    fixed = {
        "trainer": {
            "seed": seed,
            "total_epochs": 1000,
            "save_freq": delta["trainer"].get("save_freq", steps),
            "max_ckpt_to_keep": None,  # what `keep_on_the_way` moves
            "test_freq": -1,
            "logger": ["console", "file"],
            "project_name": "sft",
            "experiment_name": phase["name"],
        },
        "engine": {"seed": seed},
        "checkpoint": {"save_contents": ["hf_model"]},  # a phase is never taken up in its middle
    }
    where = f"phase {phase['name']} of SFT"  # of the base or of a warm-up
    return compose_sft([spec.trainer, delta, fixed], where, spec.engine)


def on_the_way(folder: Path) -> dict[int, Path]:
    """Step -> model that a phase with a `save_freq` left in the stage's folder before its end."""
    found = {int(path.name.removeprefix("step")): path for path in folder.glob("step*")}
    return dict(sorted(found.items()))


def keep_on_the_way(phase: Path, folder: Path, last: Path) -> None:
    """Move the models of a phase's earlier steps, of which a run of its fine-tuning may measure
    the course, to where `on_the_way` finds them."""
    for model in phase.glob("checkpoints/global_step_*/huggingface"):
        if model != last:
            step = model.parent.name.removeprefix("global_step_")
            model.rename(folder / f"step{step}")


def check_rows(file: Path, batch: int) -> None:
    """Raise ValueError where there is no such file, or too few rows: verl drops a last batch that
    is not full, and divides by the number of the others."""
    if not file.exists():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.parquet")))
        raise ValueError(f"{relative(file)}: no such file to learn from (there: {known})")
    rows = parquet.read_metadata(file).num_rows
    if rows < batch:
        raise ValueError(
            f"{relative(file)}: {rows} rows, fewer than a batch of {batch}; lower the phase's "
            "data.train_batch_size, or make or sample more"
        )


def run_phase(
    run: RunConfig, folder: Path, config: dict[str, Any], data: Path, model: Path
) -> Path:
    """Train one phase in `folder`; returns the folder of its exported model."""
    steps = config["trainer"]["total_training_steps"]
    exported = folder / "checkpoints" / f"global_step_{steps}" / "huggingface"
    marker, identity = folder / "finished.json", sha256_json(config)
    if marker.exists() and read_json(marker) == identity:
        return exported
    file = data / Path(config["data"]["train_files"]).name
    check_rows(file, config["data"]["train_batch_size"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = copy.deepcopy(config)  # the given one is part of the stage's key
    config["data"]["train_files"] = str(file)
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
