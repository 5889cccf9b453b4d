"""Stage `train`: verl's PPO trainer on the composed configuration, resumed from its checkpoints."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from common.config import ROOT, STEPS_KEY, RunConfig, leaves
from common.console import say
from common.health import Watch
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
from common.stages.loggers import OWN, Loggers
from common.stages.progress import Follower, step_metrics
from common.stages.reward import reward_sources
from common.stages.services import complete_paths, service_inputs, services

# Keys that name files below the run's folder; verl gets them as absolute paths.
PATH_KEYS = (
    "data.train_files",
    "data.val_files",
    "actor_rollout_ref.model.path",
    "critic.model.path",
    "trainer.default_local_dir",
    "trainer.validation_data_dir",
)
# What does not change the numbers of a run: how long, how watched, on which cluster.
NOT_IN_KEY = (STEPS_KEY, "trainer.logger", "trainer.project_name", "trainer.experiment_name")
# Trainers that common/plugin adds to verl's: trainer.v1.trainer_mode, and the module to import.
TRAINERS = {
    "sync_token_selection": "common.plugin.token_selection",
    "sync_reference_service": "common.plugin.reference_service",
    "separate_async_reference_service": "common.plugin.reference_service",
}
COLUMNS = {
    "reward": "group/score",  # of all responses, also those that a sampler leaves out
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
    inputs = train_inputs(run, data, start) | served(run, run_dir)
    begin(folder, inputs, argv)
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
    drop_checkpoints(folder, resume, run.get("trainer.max_actor_ckpt_to_keep"))
    keep = {step: line for step, line in logged.items() if step <= resume} if resume else {}
    write_metrics(folder / "metrics.jsonl", keep)
    health = Watch(run.get("data.max_response_length"))
    for line in keep.values():
        health.see(*step_metrics(line))
    launch(run, run_dir, folder, steps, resume, health)
    merge_attempt(folder)
    if steps not in read_metrics(folder / "metrics.jsonl") or not exported.exists():
        raise ValueError(
            f"{relative(folder)}: verl ended before step {steps}; trainer.total_epochs or "
            f"trainer.save_freq is too small (see {relative(folder / 'log.txt')})"
        )
    finish_stage(folder, inputs, sum(a["seconds"] for a in read_attempts(folder)))
    say(f"train: health: {health.line()}")
    return exported


def begin(folder: Path, inputs: dict[str, Any], argv: list[str]) -> None:
    """Write down what a training comes from, before its start.

    Raises ValueError when the folder holds one of other inputs.
    """
    refuse_other_run(folder, inputs)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "inputs.json").exists():
        write_json(folder / "provenance.json", {"argv": argv, "provenance": provenance_now()})
        write_json(folder / "inputs.json", inputs)


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
        "source": source_digest("common/plugin/*.py", *reward_sources(run)),
    }


def served(run: RunConfig, run_dir: Path) -> dict[str, Any]:
    """The models behind the services of a run, where it has any."""
    found = service_inputs(run, run_dir)
    return {"services": found} if found else {}


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


def launch(
    run: RunConfig, run_dir: Path, folder: Path, steps: int, resume: int, health: Watch
) -> None:
    """One attempt of verl's trainer, from scratch or from checkpoint `resume`."""
    scratch = make_scratch(folder)
    config = {k: v for k, v in run.config.items() if k not in ("recipe", "scale", "variant")}
    config = json.loads(json.dumps(config))
    for key in PATH_KEYS:
        if run.get(key) is not None:
            set_key(config, key, str((run_dir / run.get(key)).resolve()))
    complete_paths(config, run_dir)
    sampler = config["trainer"]["v1"]["sampler"]["sampler_kwargs"] or {}
    if sampler.get("group_reward"):  # it reads responses
        sampler["tokenizer"] = config["actor_rollout_ref"]["model"]["path"]
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
        say(f"train: {run.label} seed {run.seed}, {steps} steps; starting Ray and verl")
    config["trainer"]["logger"] = list(OWN)
    extra = {
        "VERL_FILE_LOGGER_PATH": str(folder / "attempt.jsonl"),
        "TENSORBOARD_DIR": str(folder / "tensorboard"),
    }
    trainer = TRAINERS.get(run.get("trainer.v1.trainer_mode"))
    if trainer:
        extra["RECIPE_TRAINER"] = trainer
    if os.environ.get("RAY_ADDRESS"):
        # a worker on a cluster inherits from its node's daemon, not from this process
        variables = settings(run.recipe.platform) | extra
        config["ray_kwargs"]["ray_init"] = {"runtime_env": {"env_vars": variables}}
    else:
        config["ray_kwargs"]["ray_init"]["_temp_dir"] = scratch
    write_json(folder / "config.yaml", config)
    env = environment(run.recipe.platform, TMPDIR=scratch, **extra)
    local = run.recipe.platform == "cpu" and not os.environ.get("RAY_ADDRESS")
    command = ["-m", "common.main_ppo" if local else "verl.trainer.main_ppo"]
    command += ["--config-path", str(folder)]
    command += ["--config-name", "config", f"hydra.run.dir={folder}", "hydra.output_subdir=null"]
    before = read_attempts(folder) if resume else []
    write_json(folder / "attempts.json", [*before, {"step": resume, "started": time.time()}])
    title, attempt = f"train {run.label}", folder / "attempt.jsonl"
    follower = Follower(title, attempt, steps, COLUMNS, health=health)
    loggers = Loggers(run.get("trainer.logger"), folder, env)

    try:
        with services(run, run_dir, config) as watch, follower, loggers:

            def follow() -> None:
                follower.poll()
                loggers.poll()
                watch()

            run_child(command, env, folder / "log.txt", follow)
    finally:
        drop_scratch(folder)
        write_json(folder / "attempts.json", read_attempts(folder))


def make_scratch(folder: Path) -> str:
    """A new folder for Ray's files, found again as `folder/scratch` when this process is killed.

    Unix sockets allow about 100 characters, so it cannot lie below the run's folder.
    """
    drop_scratch(folder)
    path = tempfile.mkdtemp(prefix="recipe-", dir="/tmp")
    (folder / "scratch").symlink_to(path)
    return path


def drop_scratch(folder: Path) -> None:
    link = folder / "scratch"
    if link.is_symlink():
        path = link.readlink()
        if path.parent == Path("/tmp") and path.name.startswith("recipe-"):
            shutil.rmtree(path, ignore_errors=True)
        link.unlink()


def set_key(config: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for part in parents:
        config = config[part]
    config[last] = value


def last_whole_checkpoint(folder: Path, logged: dict[int, str]) -> int:
    """The newest checkpoint that verl finished and whose step is logged; 0 when there is none.

    verl logs a step after it has saved it, so what is not logged may be half a checkpoint.
    """
    steps = [step for step, path in checkpoints(folder).items() if (path / "data.pt").exists()]
    newest = max(logged, default=0)
    with contextlib.suppress(OSError, ValueError):  # missing, or emptied by a kill in its rewriting
        newest = int((folder / "checkpoints" / "latest_checkpointed_iteration.txt").read_text())
    return max((s for s in steps if s <= newest and s in logged), default=0)


def checkpoints(folder: Path) -> dict[int, Path]:
    """Step -> folder of the checkpoints that still hold weights, finished or not."""
    found = (folder / "checkpoints").glob("global_step_*")
    # verl prunes `actor` of old checkpoints and leaves the rest
    return {int(p.name.split("_")[-1]): p for p in found if (p / "actor").is_dir()}


def drop_checkpoints(folder: Path, resume: int, keep: int | None) -> None:
    """Make room before going on from `resume`: what is newer is done again, and maybe half.

    verl prunes what it wrote since it started; older checkpoints are dropped here, where `keep`
    (verl's max_actor_ckpt_to_keep) limits their number.
    """
    for step, path in checkpoints(folder).items():
        if step > resume or (keep and step < resume):
            shutil.rmtree(path)


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
    """One entry for each start of the trainer: the step it went on from, and its seconds.

    An attempt that was killed could not write them: they last until its log's last line.
    """
    path, log = folder / "attempts.json", folder / "log.txt"
    attempts = read_json(path) if path.exists() else []
    end = log.stat().st_mtime if log.exists() else 0.0
    return [{"seconds": max(0.0, end - a["started"])} | a for a in attempts]
