"""Child processes of a stage: started in their own group, followed, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from common.config import ROOT
from common.console import say

# Every descendant inherits this variable, Ray's daemons and workers included; it finds them again.
# Its value is the folder that they write to: who holds that folder's lock may end them.
MARK = "RECIPE_STAGE_FOLDER"
# Less free space than this after a failure: the disk is what failed.
FULL_BYTES = 20e6
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
    if "SANDBOX_URL" in os.environ:
        env["SANDBOX_URL"] = os.environ["SANDBOX_URL"]
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
    mark = str(log.parent.resolve())
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
    kill_marked(mark)
    if child.poll() is None:
        child.kill()
        child.wait()


def end_left_over(folder: Path) -> None:
    """End what a launcher that was itself killed by force left at work in `folder` or below.

    The caller holds the folder's lock, so no living launcher answers for such a process.
    """
    ended = kill_marked(str(folder.resolve()))
    if ended:
        say(f"ended {ended} processes that a killed run had left at work here")


def kill_marked(mark: str) -> int:
    """Kill the processes that carry the mark, and wait until they are gone; how many there were."""
    left = list(marked(mark))
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=5)
    return len(left)


def marked(mark: str) -> Iterator[psutil.Process]:
    """Processes, other than this one, whose environment carries the mark of a folder (or below)."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found = process.environ().get(MARK, "") if process.pid != os.getpid() else ""
            if f"{found}/".startswith(f"{mark}/"):
                yield process


def _end_with_parent() -> None:
    """Linux: the kernel stops the child when this process dies, even by kill -9."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _reason(log: Path, begin: int, code: int) -> str:
    """Why the process failed, in one line."""
    where = f"see {log.relative_to(ROOT) if log.is_relative_to(ROOT) else log}"
    found = last_error(log, begin)
    if shutil.disk_usage(log.parent).free < FULL_BYTES and "No space left" not in (found or ""):
        # torch reports a failed write, not why
        found = "No space left on device" + (f": {found}" if found else "")
    if found:
        return f"{found} (exit code {code}; {where})"
    return f"the process ended with exit code {code}; {where}"


def last_error(log: Path, begin: int = 0) -> str | None:
    """The last exception line of a log from byte `begin` on (Ray prefixes workers' lines)."""
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - 200_000))
        lines = file.read().decode("utf-8", "replace").splitlines()
    for line in reversed(lines):
        clean = re.sub(r"\x1b\[[0-9;]*m", "", line)
        match = _EXCEPTION.match(re.sub(r"^\([^)]*pid=\d+[^)]*\)\s*", "", clean))
        if match:
            return match.group(1)[:300]
    return None
