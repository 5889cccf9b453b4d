"""Countdown puzzles, generated: reach a target with given numbers, each used exactly once.

A target is drawn first, then numbers until an exact search finds a solution, all uniformly. With
the defaults (3 or 4 numbers up to 99, targets 10 to 100, whole numbers in between) this has the
distribution of the puzzles in Jiayi-Pan/TinyZero's data/countdown @4196ea33 (pull request 93), as a
test shows; how those were made is not published.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from data import prompts
from data.micro_task import Draws
from data.parquet import prompt_row, write_parquet

DATA_SOURCE = "countdown"
# One held-out pool for every seed: arms and seeds are compared on the same problems.
HELD_OUT_SEED = 20250303
TRIES = 20_000  # draws of numbers for one target before giving up

Value = int | Fraction
# How a value is made: sign, the numbers on its left (bit mask), left and right value.
Step = tuple[str, int, Value, Value]
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}


@dataclass(frozen=True)
class Puzzle:
    numbers: tuple[int, ...]
    target: int

    @property
    def identity(self) -> tuple[tuple[int, ...], int]:
        """The same for puzzles that differ in the order of their numbers."""
        return tuple(sorted(self.numbers)), self.target

    @property
    def gold(self) -> dict[str, list[int] | int]:
        """What the Countdown graders want."""
        return {"numbers": list(self.numbers), "target": self.target}


@dataclass(frozen=True)
class Space:
    """What puzzles are made of. `counts`: how many numbers a puzzle may have, equally often;
    numbers are 1 to `largest`; `targets`: the lowest and the highest; `integers_only`: solvable
    without a fraction in between."""

    counts: tuple[int, ...]
    largest: int
    targets: tuple[int, ...]
    integers_only: bool

    def __post_init__(self) -> None:
        where = "recipe.data.options"
        if not self.counts or not all(2 <= count <= 6 for count in self.counts):
            raise ValueError(f"{where}.counts: {list(self.counts)}; use counts from 2 to 6")
        if self.largest < 1 or len(self.targets) != 2 or not 0 < self.targets[0] <= self.targets[1]:
            raise ValueError(
                f"{where}: largest {self.largest} and targets {list(self.targets)} asked for; "
                "use a largest number from 1, and the lowest and the highest target, from 1"
            )

    def draw(self, rng: random.Random) -> Puzzle:
        """One solvable puzzle. Raises ValueError where solutions are too rare."""
        count = self.counts[rng.randrange(len(self.counts))]
        lowest, highest = self.targets
        target = lowest + rng.randrange(highest - lowest + 1)
        for _ in range(TRIES):
            numbers = tuple(1 + rng.randrange(self.largest) for _ in range(count))
            if target in _reach(numbers, self.integers_only)[-1]:
                return Puzzle(numbers, target)
        raise ValueError(
            f"recipe.data.options: no {count} numbers up to {self.largest} with which {target} is "
            f"reached in {TRIES} draws: raise largest, or use smaller targets"
        )


def _reach(numbers: Sequence[int], integers_only: bool) -> list[dict[Value, Step | None]]:
    """For each set of the numbers (bit mask) the values that use all of it, with their last step.

    Only values from 0 up are kept: a difference is taken from the larger value. That loses no
    positive target, as the signs of the parts of an expression can always be moved outwards.
    """
    values: list[dict[Value, Step | None]] = [{} for _ in range(1 << len(numbers))]
    for position, number in enumerate(numbers):
        values[1 << position] = {number: None}
    for mask in range(1, len(values)):
        lowest, found = mask & -mask, values[mask]
        part = mask ^ lowest
        while part:  # every way to split the set in two, once: the lowest number is on one side
            part = (part - 1) & (mask ^ lowest)
            _combine(values, mask, part | lowest, found, integers_only)
    return values


def _combine(
    values: list[dict[Value, Step | None]],
    mask: int,
    side: int,
    found: dict[Value, Step | None],
    integers_only: bool,
) -> None:
    """Add to `found` what the four operations make of the two sides of `mask`."""
    other = mask ^ side
    for a in values[side]:
        for b in values[other]:
            high, low, place = (a, b, side) if a >= b else (b, a, other)
            found.setdefault(high + low, ("+", place, high, low))
            found.setdefault(high - low, ("-", place, high, low))
            found.setdefault(high * low, ("*", place, high, low))
            if low:
                if isinstance(high, int) and isinstance(low, int) and high % low == 0:
                    found.setdefault(high // low, ("/", place, high, low))
                elif not integers_only:
                    found.setdefault(Fraction(high) / low, ("/", place, high, low))
                if not integers_only:
                    found.setdefault(Fraction(low) / high, ("/", mask ^ place, low, high))


def solve(numbers: Sequence[int], target: int, *, integers_only: bool = False) -> str | None:
    """An expression over all numbers whose value is `target`, by exhaustive exact search; None
    when there is none. `target` is positive; `integers_only`: without a fraction in between."""
    values = _reach(numbers, integers_only)
    if target not in values[-1]:
        return None
    return _write(values, len(values) - 1, target)[0]


def _write(values: list[dict[Value, Step | None]], mask: int, value: Value) -> tuple[str, int]:
    """The expression of a value, and the precedence of its last sign (3: a number)."""
    step = values[mask][value]
    if step is None:
        return str(value), 3
    sign, side, high, low = step
    level = _PRECEDENCE[sign]
    left, left_level = _write(values, side, high)
    right, right_level = _write(values, mask ^ side, low)
    if left_level < level:
        left = f"({left})"
    if right_level < level or (right_level == level and sign in "-/"):
        right = f"({right})"
    return f"{left} {sign} {right}", level


def build(
    folder: Path,
    seed: int,
    *,
    train: int,
    validation: int,
    test: int,
    template: str = "countdown_raw",
    counts: Sequence[int] = (3, 4),
    largest: int = 99,
    targets: Sequence[int] = (10, 100),
    integers_only: bool = True,
) -> None:
    """Write train, validation and test as parquet, all puzzles solvable and different even up to
    the order of their numbers. Validation and test are the same for every seed.

    `template`: of the prompt, with `{numbers}` and `{target}`; the other options: see `Space`.
    Raises: ValueError naming the option that is wrong, or asks for more puzzles than there are.
    """
    space = Space(tuple(counts), largest, tuple(targets), integers_only)
    wording = prompts.load(template)

    draws = Draws(
        space.draw,
        lambda puzzle: puzzle.identity,
        HELD_OUT_SEED,
        seed,
        train=train,
        validation=validation,
        test=test,
    )
    for split, puzzles in draws.splits.items():
        rows = [
            prompt_row(
                DATA_SOURCE,
                wording.render(puzzle.gold),
                puzzle.gold,
                split,
                index,
                extra={"template": wording.label},
            )
            for index, puzzle in enumerate(puzzles)
        ]
        write_parquet(folder / f"{split}.parquet", rows)
