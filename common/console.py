"""What a user reads while a recipe runs: one line for each event, on standard error."""

from __future__ import annotations

import sys
import time

from rich.console import Console

console = Console(stderr=True, highlight=False, soft_wrap=True)
_START = time.monotonic()


def say(text: str) -> None:
    """One line with the seconds since the start of the program."""
    seconds = int(time.monotonic() - _START)
    console.print(f"[{seconds // 60:3d}:{seconds % 60:02d}] {text}", markup=False)


def fail(text: str) -> None:
    """The one line of an error."""
    print("error: " + " ".join(text.split()), file=sys.stderr)
