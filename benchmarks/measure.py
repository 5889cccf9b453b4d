"""What is timed: training runs of this repository and of TRL, each in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from common.config import ROOT, RunConfig
from common.pipeline import plan, prepare
from common.process import marked
from common.runs import locked, write_json
from common.stages.evaluate import evaluate_start
from common.stages.progress import NewLines
from common.stages.train import read_metrics, train

FOLDER = ROOT / "runs" / ".benchmarks"
TRL = FOLDER / "trl"
SIZES = ("data.train_batch_size", "actor_rollout_ref.rollout.n", "data.max_response_length")
PHASES = ("gen", "old_log_prob", "update_actor", "update_weights")
# Lines of verl's log that end a phase of the start, in order.
MARKS = {
    "Ray": "Started a local Ray instance",
    "task runner, TransferQueue, data": "worker group kwargs",
    "trainer": "actor and ref model engine initialized",
    "rollout server": "all initialize finished, ready to fit",
}


class Watch:
    """Notes when lines appear in a file, from a thread that looks every hundredth of a second.

    `mark`: also note the processor seconds that the processes of this folder have used till then.
    """

    def __init__(self, path: Path, mark: Path | None = None) -> None:
        self.path, self.mark = path, mark
        self.seen: list[tuple[float, str]] = []
        self.cpu: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        lines = NewLines(self.path)
        while not self._stop.wait(0.01):
            new = [(time.time(), line) for line in lines.read()]
            if new and self.mark:
                self.cpu += [cpu_seconds(self.mark)] * len(new)
            self.seen += new


def cpu_seconds(folder: Path) -> float:
    """Processor seconds, user and system, of the running processes that carry a folder's mark."""
    total = 0.0
    for process in marked(str(folder.resolve())):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def steps_of(recipe: str, words: list[str], warm_up: int) -> dict[str, Any]:
    """Train anew; seconds from each metrics line to the next, and verl's timers, after `warm_up`.

    `seconds` are wall time, `cpu` the processor seconds of all processes of the run.
    The last step, which saves a checkpoint, is left out.
    """
    [run] = plan(recipe, words)
    folder = run.run_dir / "train"
    with locked(run.run_dir / "lock", None):
        shutil.rmtree(folder, ignore_errors=True)
        data, start = prepare(run, ["benchmark"])
        with Watch(folder / "attempt.jsonl", folder) as watch:
            train(run, run.run_dir, data, start, ["benchmark"])
    logged = [json.loads(line)["step"] for _, line in watch.seen]
    times = {step: when for step, (when, _) in zip(logged, watch.seen, strict=True)}
    cpu = dict(zip(logged, watch.cpu, strict=True))
    metrics = {s: json.loads(x)["data"] for s, x in read_metrics(folder / "metrics.jsonl").items()}
    steps = range(warm_up + 1, max(times))
    return {
        "run": run,
        "seconds": [times[s] - times[s - 1] for s in steps],
        "cpu": [cpu[s] - cpu[s - 1] for s in steps],
        "step": [metrics[s]["timing_s/step"] for s in steps],
        "phases": {p: [metrics[s][f"timing_s/{p}"] for s in steps] for p in PHASES},
    }


def trl_steps(run: RunConfig, steps: int, warm_up: int, one_thread: bool) -> dict[str, Any]:
    """TRL's trainer on the run's model, data and sizes: seconds a step and of its generation.

    `one_thread`: limit torch to one; else it takes one for each core, as TRL leaves it.
    """
    scratch = FOLDER / "trl-scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    spec = {
        "model": str((run.run_dir / "sft" / "model").resolve()),
        "data": str((run.run_dir / "data" / "train.parquet").resolve()),
        **dict(zip(("prompts", "group", "tokens"), map(run.get, SIZES), strict=True)),
        "lr": run.get("actor_rollout_ref.actor.optim.lr"),
        "steps": steps,
        "scratch": str(scratch / "output"),
    }
    write_json(scratch / "spec.json", spec)
    files = [str(scratch / name) for name in ("spec.json", "result.json")]
    path = os.pathsep.join([str(ROOT), str(TRL)])
    env = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    env |= {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if one_thread:
        env["OMP_NUM_THREADS"] = "1"
    log = scratch / "log.txt"
    with log.open("w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.trl_step", *files],
            cwd=ROOT,
            env=env,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"TRL failed; see {log.relative_to(ROOT)}")
    result = json.loads((scratch / "result.json").read_text())
    ends = result["ends"]
    return {
        "parameters": result["parameters"],
        "seconds": [b - a for a, b in zip(ends, ends[1:], strict=False)][warm_up - 1 :],
        "generation": result["generation"][warm_up:],
    }


def start_of(recipe: Path, words: list[str]) -> dict[str, float]:
    """Seconds from calling `recipe/run.sh` to its first optimizer step, by phase, in order.

    A step counts as done when its metrics are logged. The run is then interrupted.
    """
    [run] = plan(str(recipe), words)
    with locked(run.run_dir / "lock", None):
        evaluate_start(run, run.run_dir, *prepare(run, ["benchmark"]))
        folder = run.run_dir / "train"
        shutil.rmtree(folder, ignore_errors=True)
    begin = time.time()
    with Watch(folder / "attempt.jsonl") as metrics, Watch(folder / "log.txt") as log:
        output = (FOLDER / "start.log").open("w")
        child = subprocess.Popen(
            ["bash", str(recipe / "run.sh"), *words], stdout=output, stderr=output
        )
        try:
            wait(lambda: len(metrics.seen) > 1, child)
        finally:
            child.send_signal(signal.SIGINT)
            child.wait()
            output.close()
    ends = {"checks, up to verl's process": (folder / "config.yaml").stat().st_mtime}
    for name, mark in MARKS.items():
        ends[name] = next(when for when, line in log.seen if mark in line)
    ends["validation before training"] = metrics.seen[0][0]
    ends["first step"] = metrics.seen[1][0]
    moments = [begin, *ends.values()]
    return {name: b - a for name, a, b in zip(ends, moments, moments[1:], strict=False)}


def wait(ready: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    while not ready():
        if child.poll() is not None:
            raise RuntimeError("run.sh ended before its first step; see runs/.benchmarks/start.log")
        time.sleep(0.02)
