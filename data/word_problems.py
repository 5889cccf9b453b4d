"""Word problems in the manner of GSM8K: the micro task of recipes that learn to reason in steps.

`Ann has 12 pens. Ann buys 3 boxes of 4 pens. Ann gives 5 pens to Tom. How many pens does Ann have?`
is worked as one calculation a line, `3*4=12`, `12+12=24`, `24-5=19`, and `#### 19`. All numbers are
whole, from 1 to `largest`, and every division is exact.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import prompts, warmup_texts
from data.micro_task import Draws, draw_distinct
from data.parquet import prompt_row, write_parquet

DATA_SOURCE = "word_problems"
# One held-out pool for every seed: arms and seeds are compared on the same problems.
HELD_OUT_SEED = 20250825
NAMES = ("Ann", "Ben", "Eva", "Ian", "Kim", "Leo", "Mia", "Sam", "Tom", "Zoe")
THINGS = ("pens", "eggs", "cards", "coins", "books", "stamps", "apples", "shells")
# Kind of step: how it is told, with the numbers k and m.
STEPS = {
    "+": "{name} buys {k} {things}.",
    "box": "{name} buys {k} boxes of {m} {things}.",
    "-": "{name} gives {k} {things} to {friend}.",
    "*": "{name} wins until there are {k} times as many.",
    "/": "{name} puts them in {k} equal bags and keeps one bag.",
}
ANSWERS = ("hashes", "tags")


@dataclass(frozen=True)
class Problem:
    """`steps`: (kind of STEPS, k, m), m 0 where the kind has none."""

    name: str
    friend: str
    things: str
    start: int
    steps: tuple[tuple[str, int, int], ...]

    @property
    def numbers(self) -> tuple[int, tuple[tuple[str, int, int], ...]]:
        """What the problem is, whoever has whatever."""
        return self.start, self.steps

    @property
    def text(self) -> str:
        who = {"name": self.name, "friend": self.friend, "things": self.things}
        told = [STEPS[kind].format(**who, k=k, m=m) for kind, k, m in self.steps]
        start = f"{self.name} has {self.start} {self.things}."
        return " ".join([start, *told, f"How many {self.things} does {self.name} have?"])

    def work(self, rng: random.Random | None = None, noise: float = 0.0) -> tuple[list[str], int]:
        """The calculations and the answer; with probability `noise` each result is off by 1 to 3,
        and the work goes on from there."""
        value, lines = self.start, []

        def calculate(left: int, sign: str, right: int) -> int:
            result = {
                "+": left + right,
                "-": left - right,
                "*": left * right,
                "/": left // right,
            }[sign]
            if rng is not None and rng.random() < noise:
                result += rng.choice((-3, -2, -1, 1, 2, 3))
            lines.append(f"{left}{sign}{right}={result}")
            return result

        for kind, k, m in self.steps:
            if kind == "box":
                value = calculate(value, "+", calculate(k, "*", m))
            else:
                value = calculate(value, kind, k)
        return lines, value


def sample_problem(rng: random.Random, calculations: tuple[int, int], largest: int) -> Problem:
    """One problem with a uniform number of calculations; steps that break the rules are redrawn."""
    name, friend = rng.sample(NAMES, 2)
    value = start = rng.randint(2, largest)
    left = rng.randint(*calculations)
    steps: list[tuple[str, int, int]] = []
    while left:
        kind = rng.choice(list(STEPS))
        k, m = rng.randint(2, largest), rng.randint(2, largest) if kind == "box" else 0
        if kind in "*/":
            k = rng.randint(2, 5)
        result = {"+": value + k, "-": value - k, "*": value * k, "/": value // k}.get(
            kind, value + k * m
        )
        cost = 2 if kind == "box" else 1
        exact = kind != "/" or value % k == 0
        if cost <= left and exact and 1 <= result <= largest and k * m <= largest:
            steps.append((kind, k, m))
            value, left = result, left - cost
    return Problem(name, friend, rng.choice(THINGS), start, tuple(steps))


def build(
    folder: Path,
    seed: int,
    *,
    calculations: list[int],
    largest: int,
    train: int,
    validation: int,
    test: int,
    sft: int,
    sft_noisy: int = 0,
    noise: float = 0.0,
    template: str = "plain",
    answer: str = "hashes",
    unclosed: float = 0.0,
    bare: float = 0.0,
    solutions: int = 0,
    solution_calculations: list[int] | None = None,
) -> None:
    """Write train, validation, test (prompts), sft and sft_noisy (worked solutions) as parquet.

    `calculations`: least and most of a problem, from 1 to 4; `answer`: how a solution gives the
    answer, after `####` (`hashes`) or in `tags`; `noise`: see `Problem.work`; `unclosed`: the share
    of noisy solutions whose last tag is opened again instead of closed; `bare`: the share of all
    whose prompt has no markup of turns. Both need `tags`, whose rows for SFT are those of
    `common/plugin/sft_dataset.py`; with `hashes` they are chat messages. `solutions`: as many
    worked solutions in each text of `data/warmup_texts.py`, to problems with
    `solution_calculations`. Validation and test problems are the same for every seed, and in no
    other file under other names or things.
    """
    for numbers in (calculations, solution_calculations or calculations):
        low, high = (*numbers, 0)[:2]
        if not 1 <= low <= high <= 4 or largest < 10 or answer not in ANSWERS:
            raise ValueError(
                f"recipe.data.options: calculations {numbers}, largest {largest} and answer "
                f"{answer!r} asked for; use two numbers from 1 to 4, 10 or more, and hashes or tags"
            )
    if answer != "tags" and (unclosed or bare):
        raise ValueError(f"recipe.data.options: unclosed and bare need answer tags, not {answer!r}")
    low, high = calculations

    draws = Draws(
        lambda rng: sample_problem(rng, (low, high), largest),
        lambda problem: problem.numbers,
        HELD_OUT_SEED,
        seed,
        train=train,
        validation=validation,
        test=test,
    )
    chosen = prompts.load(template)

    def solved(problem: Problem, share: float) -> dict[str, Any]:
        lines, value = problem.work(draws.rng, share)
        worked = "\n".join(lines)
        if answer == "tags":
            end = "<answer>" if share and draws.rng.random() < unclosed else "</answer>"
            text = warmup_texts.Text(markup=draws.rng.random() >= bare, end=end)
            sample = {"problem": problem.text, "solution": worked, "answer": value}
            return warmup_texts.row(sample, text, chosen)
        messages = chosen.render({"problem": problem.text})
        messages.append({"role": "assistant", "content": f"{worked}\n#### {value}"})
        return {"messages": messages, "template": chosen.label}

    files = draws.taught(solved, sft, sft_noisy, noise)
    for split, problems in draws.splits.items():
        files[split] = [
            prompt_row(
                DATA_SOURCE,
                chosen.render({"problem": problem.text}),
                str(problem.work()[1]),
                split,
                index,
                extra={"template": chosen.label},
            )
            for index, problem in enumerate(problems)
        ]
    if solutions:
        fewest, most = solution_calculations or calculations
        problems = draw_distinct(
            draws.rng,
            solutions,
            lambda rng: sample_problem(rng, (fewest, most), largest),
            lambda problem: problem.numbers,
            draws.held_out,
        )
        worked = ((problem.text, *problem.work()) for problem in problems)
        files |= warmup_texts.rows(
            ({"problem": p, "solution": "\n".join(lines), "answer": a} for p, lines, a in worked),
            template,
            template,
        )
    for name, rows in files.items():
        if rows:
            write_parquet(folder / f"{name}.parquet", rows)
