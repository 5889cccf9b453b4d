"""Countdown worked as a chain: the micro task of recipes that ask how many problems can be solved.

A problem gives numbers and a target, and is solved by using each number once, worked left to right
as on a pocket calculator; most problems have many solutions. Every number is one character:

    ③④⑥⑨=⑭:    is solved by    ⑥-④=②+⑨=⑪+③=⑭
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from common.rewards.countdown_chain import NUMBERS, OPERATIONS, write
from data.micro_task import Draws, resample, write_task

DATA_SOURCE = "countdown_chain"
# One held-out pool for every seed: arms and seeds are compared on the same problems.
HELD_OUT_SEED = 20250601


@dataclass(frozen=True)
class Chain:
    """A problem with one of its solutions: numbers and operators in the order of working."""

    numbers: tuple[int, ...]
    operators: str
    results: tuple[int, ...]

    @property
    def target(self) -> int:
        return self.results[-1]

    @property
    def identity(self) -> tuple[tuple[int, ...], int]:
        """The same for problems that differ in the order of their numbers, or in the solution."""
        return tuple(sorted(self.numbers)), self.target

    @property
    def gold(self) -> str:
        """What the grader wants, as JSON."""
        return json.dumps({"numbers": sorted(self.numbers), "target": self.target})

    @property
    def prompt(self) -> str:
        """The numbers in ascending order, and the target."""
        return f"{''.join(map(write, sorted(self.numbers)))}={write(self.target)}:"

    def solution(self, rng: random.Random | None = None, noise: float = 0.0) -> str:
        """The worked chain; each number in it replaced, with probability `noise`, by any other."""
        steps = zip(self.operators, self.numbers[1:], self.results, strict=True)
        text = write(self.numbers[0]) + "".join(f"{o}{write(n)}={write(r)}" for o, n, r in steps)
        return text if rng is None else resample(rng, text, noise, NUMBERS)


def draw(rng: random.Random, counts: list[int], largest: int, operators: str) -> Chain:
    """One chain: how many numbers, the numbers from 1 to `largest` and the operators are uniform;
    chains with a result that cannot be written (below 0, above 50) or a target of 0 are redrawn.

    A problem is therefore drawn as often as it has solutions.
    """
    while True:
        numbers = tuple(rng.randint(1, largest) for _ in range(rng.choice(counts)))
        signs = "".join(rng.choice(operators) for _ in numbers[1:])
        results, value = [], numbers[0]
        for sign, number in zip(signs, numbers[1:], strict=True):
            value = OPERATIONS[sign](value, number)
            results.append(value)
        if min(results) >= 0 and max(results) < len(NUMBERS) and value > 0:
            return Chain(numbers, signs, tuple(results))


def build(
    folder: Path,
    seed: int,
    *,
    counts: list[int],
    largest: int,
    operators: str,
    train: int,
    validation: int,
    test: int,
    sft: int,
    sft_noisy: int,
    noise: float,
) -> None:
    """Write train, validation, test (prompts), sft and sft_noisy (worked solutions) as parquet.

    `counts`: how many numbers a problem may have, equally often. Validation and test problems are
    the same for every seed, and in no other file.
    """
    if not counts or min(counts) < 2 or not 1 <= largest < len(NUMBERS):
        raise ValueError(
            f"recipe.data.options: counts {counts} and largest {largest} asked for; use counts "
            f"from 2, and a largest number from 1 to {len(NUMBERS) - 1}"
        )
    if not operators or set(operators) - set(OPERATIONS):
        raise ValueError(
            f"recipe.data.options.operators: {operators!r}; use some of {''.join(OPERATIONS)}"
        )

    draws = Draws(
        lambda rng: draw(rng, counts, largest, operators),
        lambda chain: chain.identity,
        HELD_OUT_SEED,
        seed,
        train=train,
        validation=validation,
        test=test,
    )
    prompts = {
        split: [(chain.prompt, chain.gold) for chain in chains]
        for split, chains in draws.splits.items()
    }
    excluded = {chain.identity for chain in draws.held_out}
    taught: dict[str, list[tuple[str, str]]] = {"sft": [], "sft_noisy": []}
    for name, count, share in (("sft", sft, 0.0), ("sft_noisy", sft_noisy, noise)):
        while len(taught[name]) < count:  # a problem again, most often with another solution
            chain = draw(draws.rng, counts, largest, operators)
            if chain.identity not in excluded:
                taught[name].append((chain.prompt, chain.solution(draws.rng, share)))
    write_task(folder, DATA_SOURCE, prompts, taught)
