"""Kill a run at a chain of points and compare it with one that nobody disturbed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from common.runs import STAGE_FILE
from tests.end_to_end.conftest import Checkout

INJECT = Path(__file__).parent / "inject"
# How long processes may take to notice that the launcher is gone.
GRACE = 60
# Of the launcher, where it outlives what happened to the run.
EXIT_CODES = {"worker": 1, "raylet": 1, "nothing": 1, "interrupt": 130}
# Metrics that depend on the clock or on the machine's memory.
MEASURED = ("timing_", "perf/", "actor/perf/")
# Made of the sampler's likelihoods, whose last bits depend on which requests came in time for one
# batch, in undisturbed runs as well. No update of the arm run here uses them: how far they are from
# the trainer's, and the entropy of the samples.
SAMPLED = ("rollout_corr/", "training/rollout_", "group/entropy")
# A distance is itself about 1e-6 (the largest of a run's steps 2e-6), and may be there in one run
# only.
CLOSE = 1e-5
# torch says for every tensor of a checkpoint that no process group is there
logging.getLogger("torch.distributed.device_mesh").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Fault:
    """A point of `inject/sitecustomize.py`, and which process gets kill -9 there.

    `kill`: `launcher`; `all` (every process of the run at once); `worker` (the one that reached
    the point); `raylet` (Ray's daemon). `interrupt` is a Ctrl-C, and `nothing` goes with the point
    `full-disk`, where the run ends by itself.
    """

    point: str
    kill: str
    step: int | None = None


@dataclass
class Outcome:
    """What one kill did. `resumed`: the step the next call went on from (None: no training)."""

    seed: int
    point: str
    step: int | None
    kill: str
    error: str | None
    lost_s: float
    ended_s: float
    orphans: int
    resumed: int | None = None
    weights_equal: bool | None = None
    metrics_equal: bool | None = None


def digest(path: Path) -> str:
    """sha256 of a file's content; of the tensors and values where torch wrote it."""
    if path.suffix != ".pt":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            local = value.to_local() if hasattr(value, "to_local") else value
            found.update(local.detach().contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            # no random state is seeded or drawn from: two undisturbed runs differ in them
            for key in [k for k in value if k != "rng"]:
                found.update(repr(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            found.update(repr(value).encode())

    # our own run wrote it, and verl's checkpoints hold more than tensors
    add(torch.load(path, weights_only=False))
    return found.hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Every file of a checkpoint: model, optimizer, export, data loader, random states."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != STAGE_FILE)
    return {str(p.relative_to(folder)): digest(p) for p in files}


def metrics(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """(step, what does not depend on the clock) of every line, in the file's order."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [
        (line["step"], {k: v for k, v in line["data"].items() if not k.startswith(MEASURED)})
        for line in map(json.loads, lines)
    ]


def differing(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Metrics of a step that are not equal bit for bit; those `SAMPLED`, that are not `CLOSE`."""

    def equal(key: str) -> bool:
        if key not in mine or key not in theirs:
            return False
        close = key.startswith(SAMPLED) and abs(mine[key] - theirs[key]) < CLOSE
        return mine[key] == theirs[key] or close

    return [
        f"{key}: {mine.get(key)} {theirs.get(key)}"
        for key in sorted(mine.keys() | theirs.keys())
        if not equal(key)
    ]


def weights(run_dir: Path) -> dict[str, dict[str, str]]:
    """Digests of what a run has finished: data, model, cold start, checkpoints, evaluation."""
    train = run_dir / "train"
    logged = {s for name in ("metrics", "attempt") for s, _ in metrics(train / f"{name}.jsonl")}
    checkpoints = [train / "checkpoints" / f"global_step_{s}" for s in sorted(logged)]
    folders = [run_dir / "data", run_dir / "model", run_dir / "sft" / "model"]
    # verl prunes `actor` of old checkpoints and leaves the rest
    folders += [c for c in checkpoints if (c / "actor").is_dir()]
    found = {f.relative_to(run_dir).as_posix(): digests(f) for f in folders if f.exists()}
    if (run_dir / "evaluate" / STAGE_FILE).exists():
        found["evaluate"] = {"result.json": digest(run_dir / "evaluate" / "result.json")}
    return found


class Chain:
    """One run, started again and again, and compared with the undisturbed run in `reference`.

    `run_dir` is the run's folder; it may be `reference` itself when the first call sets that aside.
    """

    def __init__(
        self, checkout: Checkout, command: str, run_dir: Path, reference: Path, seed: int = 1
    ) -> None:
        self.checkout, self.command, self.run_dir, self.seed = checkout, command, run_dir, seed
        self.expected = weights(reference)
        self.lines = dict(metrics(reference / "train" / "metrics.jsonl"))
        self.outcomes: list[Outcome] = []
        self.differences: list[str] = []
        self.left: list[str] = []
        self.log = checkout.path / "runs" / "fault.log"
        self.marker = checkout.path / "runs" / "fault.reached"

    def kill_at(
        self, fault: Fault, words: str = "", meanwhile: Callable[[], None] = lambda: None
    ) -> Outcome:
        """Start the run (with more `words`), kill it at the fault, and wait until it is gone.

        `meanwhile` is called while the run waits at the point.
        """
        self.marker.parent.mkdir(exist_ok=True)
        self.marker.unlink(missing_ok=True)
        variables = {"PYTHONPATH": str(INJECT), "FAULT_FILE": str(self.marker)}
        variables["FAULT"] = fault.point
        if fault.step is not None:
            variables["FAULT_STEP"] = str(fault.step)
        started = time.time()
        running = self.checkout.start(f"{self.command} {words}", self.log, **variables)
        self.checkout.wait_for(lambda: self.marker.exists() or running.poll() is not None, 900)
        reached = self.marker.exists() or fault.kill == "nothing"
        assert reached, f"{fault} was not reached:\n{self.log.read_text()[-2000:]}"
        meanwhile()
        killed = time.time()
        lost = killed - self._last_work(started)
        self._kill(fault, running.pid)
        code = running.wait(timeout=180)
        self.checkout.wait_for(lambda: not self.checkout.left_over(), GRACE)
        ended, orphans = time.time() - killed, self.checkout.left_over()
        errors = [e for e in self.log.read_text().splitlines() if e.startswith("error: ")]
        if fault.kill in EXIT_CODES:  # the launcher lives and says what happened
            assert code == EXIT_CODES[fault.kill], self.log.read_text()[-2000:]
            assert len(errors) == 1 and "Traceback" not in self.log.read_text()
        self._judge()
        self.left = [" ".join(p.cmdline())[:200] for p in orphans]
        self.outcomes.append(
            Outcome(
                seed=self.seed,
                point=fault.point,
                step=fault.step,
                kill=fault.kill,
                error=errors[0] if errors else None,
                lost_s=round(lost, 1),
                ended_s=round(ended, 1),
                orphans=len(orphans),
            )
        )
        return self.outcomes[-1]

    def finish(self) -> None:
        """The last call: nobody disturbs it."""
        running = self.checkout.start(self.command, self.log)
        code = running.wait(timeout=900)
        assert code == 0, self.log.read_text()[-2000:]
        self._judge()

    def _kill(self, fault: Fault, launcher: int) -> None:
        if fault.kill == "nothing":
            return
        number = signal.SIGINT if fault.kill == "interrupt" else signal.SIGKILL
        if fault.kill == "all":
            found = self.checkout.left_over()
        elif fault.kill == "raylet":
            found = [p for p in self.checkout.left_over() if p.name() == "raylet"]
        else:
            worker = fault.kill == "worker"
            found = [psutil.Process(int(self.marker.read_text()) if worker else launcher)]
        assert found
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _last_work(self, started: float) -> float:
        """When the last step that will not be done again was logged; else the start."""
        path = self.run_dir / "train" / "attempt.jsonl"
        return path.stat().st_mtime if path.exists() and path.stat().st_size else started

    def _judge(self) -> None:
        """What the call after a kill did: where it went on, and whether all agrees so far."""
        if not self.outcomes:
            return
        last, text = self.outcomes[-1], self.log.read_text()
        found = re.search(r"resuming after step (\d+)", text)
        last.resumed = int(found.group(1)) if found else 0 if "starting Ray" in text else None
        mine, train = weights(self.run_dir), self.run_dir / "train"
        files = [
            f"{name}/{file}"
            for name in mine
            for file in mine[name].keys() | self.expected[name].keys()
            if mine[name].get(file) != self.expected[name].get(file)
        ]
        lines = metrics(train / "metrics.jsonl") + metrics(train / "attempt.jsonl")
        numbers = [
            f"step {step}: {difference}"
            for step, line in lines
            for difference in differing(line, self.lines[step])
        ]
        last.weights_equal, last.metrics_equal = not files, not numbers
        self.differences += [f"{last.point}: {what}" for what in files + numbers]
