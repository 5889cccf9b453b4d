"""Stage `train`: verl's PPO trainer on the composed configuration, resumed from its checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from common.config import ROOT, STEPS_KEY, RunConfig, leaves
from common.console import say
from common.process import environment, run_child, settings
from common.results import provenance
from common.runs import (
    STAGE_FILE,
    difference,
    finish_stage,
    now,
    read_json,
    relative,
    source_digest,
    write_json,
)
from common.stages.progress import Follower

# Keys that name files below the run's folder; verl gets them as absolute paths.
PATH_KEYS = (
    "data.train_files",
    "data.val_files",
    "actor_rollout_ref.model.path",
    "trainer.default_local_dir",
)
# What does not change the numbers of a run: how long, how watched, on which cluster.
NOT_IN_KEY = (STEPS_KEY, "trainer.logger", "trainer.project_name", "trainer.experiment_name")
COLUMNS = {
    "reward": "critic/score/mean",
    "length": "response_length/mean",
    "clipped": "actor/pg_clipfrac",
    "entropy": "actor/entropy",
    "grad": "actor/grad_norm",
    "seconds": "timing_s/step",
}


def train(run: RunConfig, run_dir: Path, data: Path, start: Path, argv: list[str]) -> Path:
    """Train to the configured number of steps; returns the folder of the exported model.

    What the numbers come from (`argv`, code, packages, machine) is written down before the start.

    Raises ValueError when the folder holds a run of another configuration, or more steps.
    """
    folder = run_dir / "train"
    steps = int(run.get(STEPS_KEY))
    inputs = train_inputs(run, data, start)
    refuse_other_run(folder, inputs)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "inputs.json").exists():
        write_json(folder / "provenance.json", {"argv": argv, "provenance": provenance_now()})
        write_json(folder / "inputs.json", inputs)
    merge_attempt(folder)
    logged = read_metrics(folder / "metrics.jsonl")
    finished = folder / STAGE_FILE
    if logged and max(logged) > steps:
        raise ValueError(
            f"{STEPS_KEY}={steps}: {relative(run_dir)} has {max(logged)} steps already; "
            "ask for as many or more, or set them aside with --fresh"
        )
    exported = folder / "checkpoints" / f"global_step_{steps}" / "actor" / "huggingface"
    if steps in logged and exported.exists():
        say(f"train: done before ({relative(folder)})")
        if not finished.exists():  # stopped between the last step and the marker
            finish_stage(folder, inputs, sum(a["seconds"] for a in read_attempts(folder)))
        return exported
    finished.unlink(missing_ok=True)
    resume = last_whole_checkpoint(folder, logged)
    keep = {step: line for step, line in logged.items() if step <= resume} if resume else {}
    write_metrics(folder / "metrics.jsonl", keep)
    launch(run, run_dir, folder, steps, resume)
    merge_attempt(folder)
    if steps not in read_metrics(folder / "metrics.jsonl") or not exported.exists():
        raise ValueError(
            f"{relative(folder)}: verl ended before step {steps}; trainer.total_epochs or "
            f"trainer.save_freq is too small (see {relative(folder / 'log.txt')})"
        )
    finish_stage(folder, inputs, sum(a["seconds"] for a in read_attempts(folder)))
    return exported


def provenance_now() -> dict[str, Any]:
    """Code, packages, lock and machine of a run that starts now."""
    return {
        "git": provenance.git_state(ROOT),
        "packages": provenance.package_versions(),
        "lock": provenance.lock_state(provenance.installed_lock(ROOT / "requirements")),
        "hardware": provenance.hardware(),
        "started": now(),
    }


def train_inputs(run: RunConfig, data: Path, start: Path) -> dict[str, Any]:
    """Everything that decides the numbers of a training run."""
    verl = {k: v for k, v in run.config.items() if k not in ("recipe", "ray_kwargs")}
    return {
        "config": {k: v for k, v in leaves(verl) if k not in NOT_IN_KEY},
        "data": read_json(data / STAGE_FILE)["key"],
        "start": read_json(start / STAGE_FILE)["key"],
        "source": source_digest("common/plugin/*.py", "common/rewards/*.py"),
    }


def refuse_other_run(folder: Path, inputs: dict[str, Any]) -> None:
    """Raise ValueError when the folder's training has other inputs, naming the first difference."""
    path = folder / "inputs.json"
    if not path.exists():
        return
    found = difference(read_json(path), json.loads(json.dumps(inputs)))
    if found:
        raise ValueError(
            f"{relative(folder.parent)} holds a run of another configuration ({found}); "
            "set it aside with --fresh, or undo the change"
        )


def launch(run: RunConfig, run_dir: Path, folder: Path, steps: int, resume: int) -> None:
    """One attempt of `verl.trainer.main_ppo`, from scratch or from checkpoint `resume`."""
    # Unix sockets allow about 100 characters, so Ray's files cannot live below the run's folder.
    scratch = tempfile.mkdtemp(prefix="recipe-", dir="/tmp")
    config = {k: v for k, v in run.config.items() if k not in ("recipe", "scale", "variant")}
    config = json.loads(json.dumps(config))
    for key in PATH_KEYS:
        set_key(config, key, str((run_dir / run.get(key)).resolve()))
    set_key(config, "trainer.experiment_name", f"{run.name}-{run.scale}-{run.label}-seed{run.seed}")
    if resume:
        checkpoint = folder / "checkpoints" / f"global_step_{resume}"
        config["trainer"] |= {
            "resume_mode": "resume_path",
            "resume_from_path": str(checkpoint),
            "val_before_train": False,
        }
        say(f"train: resuming after step {resume} of {steps}")
    else:
        config["trainer"]["resume_mode"] = "disable"
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        (folder / "attempts.jsonl").unlink(missing_ok=True)
        say(f"train: {run.label} seed {run.seed}, {steps} steps; starting Ray and verl")
    loggers = config["trainer"]["logger"]
    config["trainer"]["logger"] = [*(x for x in loggers if x != "file"), "file"]
    loggers_write_to = {
        "VERL_FILE_LOGGER_PATH": str(folder / "attempt.jsonl"),
        "TENSORBOARD_DIR": str(folder / "tensorboard"),
    }
    if os.environ.get("RAY_ADDRESS"):
        # a worker on a cluster inherits from its node's daemon, not from this process
        variables = settings(run.recipe.platform) | loggers_write_to
        config["ray_kwargs"]["ray_init"] = {"runtime_env": {"env_vars": variables}}
    else:
        config["ray_kwargs"]["ray_init"]["_temp_dir"] = scratch
    write_json(folder / "config.yaml", config)
    env = environment(run.recipe.platform, TMPDIR=scratch, **loggers_write_to)
    command = ["-m", "verl.trainer.main_ppo", "--config-path", str(folder)]
    command += ["--config-name", "config", f"hydra.run.dir={folder}", "hydra.output_subdir=null"]
    title, started = f"train {run.label}", time.time()
    try:
        with Follower(title, folder / "attempt.jsonl", steps, COLUMNS) as follower:
            run_child(command, env, folder / "log.txt", follower.poll)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with (folder / "attempts.jsonl").open("a") as file:
            file.write(json.dumps({"step": resume, "seconds": time.time() - started}) + "\n")


def set_key(config: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for part in parents:
        config = config[part]
    config[last] = value


def last_whole_checkpoint(folder: Path, logged: dict[int, str]) -> int:
    """The newest checkpoint that verl finished and whose step is logged; 0 when there is none."""
    tracker = folder / "checkpoints" / "latest_checkpointed_iteration.txt"
    if not tracker.exists():
        return 0
    newest = int(tracker.read_text())
    whole = [p.parent for p in tracker.parent.glob("global_step_*/data.pt")]
    # verl prunes `actor` of old checkpoints and leaves the rest
    steps = [int(p.name.split("_")[-1]) for p in whole if (p / "actor").is_dir()]
    return max((s for s in steps if s <= newest and s in logged), default=0)


def read_metrics(path: Path) -> dict[int, str]:
    """Step -> line of a metrics file; a line that was cut short by a crash is dropped."""
    lines: dict[int, str] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                lines[int(json.loads(line)["step"])] = line
            except ValueError:
                continue
    return lines


def write_metrics(path: Path, lines: dict[int, str]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text("".join(f"{lines[step]}\n" for step in sorted(lines)))
    partial.replace(path)


def merge_attempt(folder: Path) -> None:
    """Add the lines of the last attempt to the run's metrics: every step once, in order."""
    attempt = folder / "attempt.jsonl"
    if attempt.exists():
        merged = read_metrics(folder / "metrics.jsonl") | read_metrics(attempt)
        write_metrics(folder / "metrics.jsonl", merged)
        attempt.unlink()


def read_attempts(folder: Path) -> list[dict[str, Any]]:
    """One entry for each start of the trainer: the step it went on from, and its seconds."""
    path = folder / "attempts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
