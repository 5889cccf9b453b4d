"""Small problems in Python with tests: a generated set that exercises code grading without a hub.

A problem asks for a program that reads one line of whole numbers and prints the answer (stdin
tests), or for a function of a list (function tests), as LiveCodeBench's two kinds do. Its worked
solution and, for tests of graders, a wrong one are texts. `rating` is nominal: it orders the kinds
by difficulty, so that what reads ratings has some.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

from data import prompts
from data.answers import code_format
from data.micro_task import Draws
from data.parquet import prompt_row, write_parquet

DATA_SOURCE = "code_problems"
# One held-out pool for every seed: arms and seeds are compared on the same problems.
HELD_OUT_SEED = 20250826


@dataclass(frozen=True)
class Kind:
    """`asks`: what for, of the numbers and the constant k; `solve`: the answer; `body`: a right
    solution and `wrong` a wrong one, expressions of `a` (the list) and k; `wrong` differs from
    `body` on every list that `draw_numbers` makes."""

    rating: int
    asks: str
    solve: Callable[[list[int], int], int]
    body: str
    wrong: str


KINDS = (
    Kind(
        800, "the sum of the numbers, plus {k}", lambda a, k: sum(a) + k, "sum(a) + {k}", "sum(a)"
    ),
    Kind(
        900,
        "how many of the numbers leave the remainder 0 when divided by {k}",
        lambda a, k: sum(x % k == 0 for x in a),
        "len([x for x in a if x % {k} == 0])",
        "len(a) + 1",
    ),
    Kind(
        1000,
        "the largest difference of two of the numbers, times {k}",
        lambda a, k: (max(a) - min(a)) * k,
        "(max(a) - min(a)) * {k}",
        "(max(a) - min(a)) * {k} + 1",
    ),
    Kind(
        1200,
        "the length of the longest run of equal neighbours, plus {k}",
        lambda a, k: max(len(list(run)) for _, run in groupby(a)) + k,
        "max(len(list(g)) for _, g in itertools.groupby(a)) + {k}",
        "len(a) + {k} + 1",
    ),
    Kind(
        1400,
        "the largest sum of neighbouring numbers, at least one of them, plus {k}",
        lambda a, k: max(accumulate(a, lambda best, x: max(best, 0) + x)) + k,
        "max(itertools.accumulate(a, lambda s, x: max(s, 0) + x)) + {k}",
        "sum(abs(x) for x in a) + {k} + 1",
    ),
    Kind(
        1600,
        "how many pairs of numbers have a sum that {k} divides",
        lambda a, k: sum((a[i] + a[j]) % k == 0 for j in range(len(a)) for i in range(j)),
        "sum((a[i] + a[j]) % {k} == 0 for j in range(len(a)) for i in range(j))",
        "len(a) * len(a)",
    ),
)
STDIN = "a = list(map(int, input().split()))\nprint({body})"
FUNCTION = "def answer(a):\n    return {body}"


def draw_numbers(rng: random.Random) -> list[int]:
    return [rng.randint(-20, 20) for _ in range(rng.randint(3, 12))]


@dataclass(frozen=True)
class Problem:
    """A kind with its constant, as a program (`function` false) or a function."""

    kind: int
    k: int
    function: bool

    @property
    def text(self) -> str:
        asks = KINDS[self.kind].asks.format(k=self.k)
        if self.function:
            return (
                f"Write a function `answer` that takes a list of whole numbers and returns {asks}."
            )
        return f"The input is one line of whole numbers. Print {asks}."

    def solution(self, right: bool = True) -> str:
        kind = KINDS[self.kind]
        form = FUNCTION if self.function else STDIN
        return form.format(body=(kind.body if right else kind.wrong).format(k=self.k))

    def tests(self, count: int) -> dict[str, Any]:
        """The gold of the grader `code`; the same for the same problem."""
        rng = random.Random(f"{self.kind} {self.k}")
        lists = [draw_numbers(rng) for _ in range(count)]
        write = json.dumps if self.function else lambda a: " ".join(map(str, a))
        gold = {
            "inputs": [write(a) for a in lists],
            "outputs": [str(KINDS[self.kind].solve(a, self.k)) for a in lists],
        }
        return gold | ({"fn_name": "answer"} if self.function else {})


def draw(rng: random.Random) -> Problem:
    return Problem(rng.randrange(len(KINDS)), rng.randint(2, 9), rng.random() < 0.5)


def respond(problem: Problem, right: bool = True) -> str:
    return f"```python\n{problem.solution(right)}\n```"


def build(
    folder: Path,
    seed: int,
    *,
    template: str,
    train: int,
    validation: int,
    test: int,
    sft: int,
    tests_each: int,
) -> None:
    """Write train, validation and test (verl's RL schema) and sft (chat messages) as parquet.

    train .. sft: problems of each file, no two of a file the same, none of validation or test in
    another; tests_each: tests of a problem; template: of data/prompts/, with the problem and the
    format that its answer must have.
    """
    draws = Draws(
        draw, lambda p: p, HELD_OUT_SEED, seed, train=train, validation=validation, test=test
    )
    chosen = prompts.load(template)

    def prompt(problem: Problem) -> list[dict[str, str]]:
        starter = "def answer(a):\n    pass" if problem.function else ""
        return chosen.render({"problem": problem.text, "format": code_format(starter)})

    for split, problems in draws.splits.items():
        rows = [
            prompt_row(
                DATA_SOURCE,
                prompt(problem),
                problem.tests(tests_each),
                split,
                index,
                "code",
                {"rating": KINDS[problem.kind].rating, "template": chosen.label},
            )
            for index, problem in enumerate(problems)
        ]
        write_parquet(folder / f"{split}.parquet", rows)
    taught = [
        {
            "messages": [*prompt(p), {"role": "assistant", "content": respond(p)}],
            "template": chosen.label,
        }
        for p in draws.distinct(sft)
    ]
    write_parquet(folder / "sft.parquet", taught)
