"""Follow a trainer's metrics file: a line for each step, and a bar where there is a terminal.

The signs of an unhealthy training are watched on the way (common/health.py).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from common.console import console, say
from common.health import Watch


class NewLines:
    """Reads the whole lines of a growing file once each; the file may appear late."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read(self) -> list[str]:
        """The lines written since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text.rfind(b"\n") + 1
        self._offset += whole
        return [line.decode("utf-8", "replace") for line in text[:whole].splitlines()]


def step_metrics(line: str) -> tuple[int, dict[str, Any]]:
    """(step, metrics) of a line of verl's `file` logger, `{"step": n, "data": {...}}`.

    It writes null for a number that is not finite, and leaves out what was not measured.
    """
    record = json.loads(line)
    data = {key: math.nan if value is None else value for key, value in record["data"].items()}
    return int(record["step"]), data


class Follower:
    """Shows new lines of a metrics file as they appear, and warns of what is unhealthy in them.

    `columns`: short name to print -> metric key. `every`: print each n-th step's line. `health`: a
    watch that has seen the steps before, where there were some.
    """

    def __init__(
        self,
        title: str,
        path: Path,
        total: int,
        columns: dict[str, str],
        every: int | None = None,
        health: Watch | None = None,
    ) -> None:
        self.title, self.total, self.columns = title, total, columns
        self.every = every or max(1, total // 10)
        self.health = health or Watch()
        self._lines = NewLines(path)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=total)

    def __enter__(self) -> Follower:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def poll(self) -> None:
        """Print what has been logged since the last call."""
        for line in self._lines.read():
            step, data = step_metrics(line)
            self._show(step, data)
            for warning in self.health.see(step, data):
                say(f"warning: {self.title}: {warning}")

    def _show(self, step: int, data: dict[str, Any]) -> None:
        self._bar.update(self._task, completed=step)
        parts = [f"{name} {data[key]:.4g}" for name, key in self.columns.items() if key in data]
        parts += [
            f"validation {value:.3f}"
            for key, value in data.items()
            if key.startswith("val-core/") and "mean@" in key
        ]
        if parts and (step % self.every == 0 or step <= 1 or step == self.total):
            say(f"{self.title}: step {step}/{self.total}  " + "  ".join(parts))
