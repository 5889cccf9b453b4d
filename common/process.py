"""Child processes of a stage: started in their own group, followed, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from common.config import ROOT

# Every descendant inherits this variable, Ray's daemons and workers included; it finds them again.
MARK = "RECIPE_STAGE_ID"
_EXCEPTION = re.compile(r"^(?:\S+ )?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\w*(?:: .*)?)$")


class StageError(RuntimeError):
    """A child process failed; the message is one line with the reason and the log's path."""


def environment(platform: str, **extra: str) -> dict[str, str]:
    """The environment of a child: this process's, with our settings over it."""
    return dict(os.environ) | settings(platform) | extra


def settings(platform: str) -> dict[str, str]:
    """Our modules on the path, verl's plugin loaded, quiet tools."""
    env = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        "VERL_USE_EXTERNAL_MODULES": "common.plugin",
        "TOKENIZERS_PARALLELISM": "false",
        "HYDRA_FULL_ERROR": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # TransferQueue's default of 8 makes it warn at every operation where there are fewer cores
        "TQ_NUM_THREADS": str(min(8, psutil.cpu_count(logical=False) or 1)),
    }
    default = "1" if platform == "cpu" else "8"
    env["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", default)
    if platform == "cpu":
        env |= {"VERL_PLATFORM": "cpu", "HF_HUB_OFFLINE": "1"}
    return env


def run_child(
    arguments: list[str],
    env: dict[str, str],
    log: Path,
    follow: Callable[[], None] = lambda: None,
) -> None:
    """Run `python <arguments>` with output to `log`, calling `follow` a few times a second.

    Whatever ends it (success, failure, Ctrl-C), no descendant is left running.
    Raises StageError with the child's last exception line when it fails.
    """
    mark = uuid.uuid4().hex
    with log.open("ab") as output:
        begin = output.tell()
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=env | {MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        try:
            while child.poll() is None:
                follow()
                time.sleep(0.2)
            follow()
        finally:
            end_descendants(mark, child)
    if child.returncode != 0:
        raise StageError(_reason(log, begin, child.returncode))


def end_descendants(mark: str, child: subprocess.Popen[bytes]) -> None:
    """Stop the child and every process that carries the mark: politely, then for good.

    A second Ctrl-C during this would leave processes behind, so it is ignored.
    """
    ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in ignored]
    try:
        _end_descendants(mark, child)
    finally:
        for number, handler in zip(ignored, before, strict=True):
            signal.signal(number, handler)


def _end_descendants(mark: str, child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=5)
    left = list(marked(mark))
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=5)
    if child.poll() is None:
        child.kill()
        child.wait()


def marked(mark: str) -> Iterator[psutil.Process]:
    """Processes, other than this one, whose environment carries the mark."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                yield process


def _end_with_parent() -> None:
    """Linux: the kernel stops the child when this process dies, even by kill -9."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _reason(log: Path, begin: int, code: int) -> str:
    """The last exception line of the log (Ray prefixes workers' lines), or the exit code."""
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - 200_000))
        lines = file.read().decode("utf-8", "replace").splitlines()
    where = f"see {log.relative_to(ROOT) if log.is_relative_to(ROOT) else log}"
    for line in reversed(lines):
        clean = re.sub(r"\x1b\[[0-9;]*m", "", line)
        match = _EXCEPTION.match(re.sub(r"^\([^)]*pid=\d+[^)]*\)\s*", "", clean))
        if match:
            return f"{match.group(1)[:300]} (exit code {code}; {where})"
    return f"the process ended with exit code {code}; {where}"
