"""A service as a child of this process: started, watched, started again, and never left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.config import ROOT
from common.console import say
from common.process import MARK, StageError, end_descendants, environment, last_error
from common.runs import relative
from common.services.reference import ReferenceModel
from common.services.reward import RewardModel

CLIENTS = {"reward": RewardModel, "reference": ReferenceModel}
READY_S = 600.0  # to load a model
RESTARTS = 3  # of one service in one run


class Child:
    """`python -m common serve KIND MODEL`, while the `with` block lasts.

    `folder`: where its address (`<kind>.json`) and its log (`<kind>.log`) go; a service that a
    killed run left at work in this folder is ended first. `options`: of the command, by name.
    `poll` starts it again when it has ended, which its clients wait for.
    """

    def __init__(self, kind: str, model: Path, folder: Path, options: Mapping[str, Any]) -> None:
        self.kind, self.model = kind, model
        self.options = [word for k, v in options.items() for word in (f"--{k}", str(v))]
        self.address = folder / f"{kind}.json"
        self.log = folder / f"{kind}.log"
        self.restarts = 0
        self._mark = str((folder / kind).resolve())
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Child:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.unlink(missing_ok=True)
        self._start()
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            end_descendants(self._mark, self._process)
        self.address.unlink(missing_ok=True)

    def poll(self) -> None:
        """Start the service again if it has ended. Raises: StageError when it keeps ending."""
        assert self._process is not None
        if self._process.poll() is None:
            return
        if self.restarts == RESTARTS:
            raise self._failure(f"ended {RESTARTS + 1} times")
        self.restarts += 1
        say(f"{self.kind} service: ended ({self._why()}); starting it again, training waits")
        self._start()

    def _start(self) -> None:
        self.address.unlink(missing_ok=True)
        command = [sys.executable, "-m", "common", "serve", self.kind, str(self.model)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--address", str(self.address), *self.options],
                cwd=ROOT,
                env=environment("cpu") | {MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is for this process, which then ends it
            )

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        until = time.monotonic() + READY_S
        with CLIENTS[self.kind](str(self.address), retries=0, wait_s=0) as client:
            while not client.healthy():
                if self._process.poll() is not None:
                    raise self._failure("did not start")
                if time.monotonic() > until:
                    raise self._failure(f"was not ready within {READY_S:g} s")
                time.sleep(0.1)
            client.check()

    def _failure(self, what: str) -> StageError:
        return StageError(
            f"{self.kind} service: {what}: {self._why()} (see {relative(self.log)}); the same "
            "command goes on from the last checkpoint"
        )

    def _why(self) -> str:
        code = self._process.poll() if self._process else None
        found = last_error(self.log) or _refusal(self.log)
        return found or (f"exit code {code}" if code is not None else "no error in its log")


def _refusal(log: Path) -> str | None:
    """What the program itself said was wrong, in its one line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line[len("error: ") :] for line in reversed(lines) if line[:7] == "error: "), None)
