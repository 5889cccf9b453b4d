"""What a grader says of one response, and what a grader is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Row = Mapping[str, Any]


class Outcome(str, Enum):
    """`UNGRADABLE`: no verdict was reached (a gold answer nobody can read, the deadline); it is
    counted apart from `WRONG` wherever verdicts are counted."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNGRADABLE = "ungradable"


@dataclass(slots=True)  # not frozen: that would be a tenth of a fast grader's time
class Verdict:
    """`score`: the reward, on the grader's own scale. `extracted`: the answer that was read from
    the response, if any. `details`: further numbers, or lists of booleans or texts, by name."""

    outcome: Outcome
    score: float
    extracted: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Grader:
    """A named and versioned rule from a row to a verdict.

    `grade(row)`: the row has `response` (text, or None: nothing was produced, which is wrong) and
    `gold`, and the keys in `needs`. It raises ValueError, naming the key, for a bad `gold` or a
    missing key; never for any `response`. `version` changes with every verdict that changes.
    `bounded`: linear time in the response by construction, so it may run in the caller's thread;
    otherwise it runs in a child process that is killed at the deadline (`workers.py`), in which
    `warm()` has done the imports. `fast(row)`, where there is one, is the bounded part of an
    unbounded `grade`: the caller asks it first, and sends only a row of which it says None
    to a child. `sandboxed`: its work is done by processes of its own (common/sandbox), which no
    such child may start; it runs in the caller's thread, and many may at once.
    `gold` that is a mapping may also come as its JSON text.
    `metrics`: the numbers among the verdict's details that training logs.
    """

    name: str
    version: str
    grade: Callable[[Row], Verdict]
    bounded: bool = True
    needs: tuple[str, ...] = ()
    warm: Callable[[], None] | None = None
    fast: Callable[[Row], Verdict | None] | None = None
    metrics: tuple[str, ...] = ()
    sandboxed: bool = False
