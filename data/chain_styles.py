"""Arithmetic chains worked in several styles, and two other tasks: the micro task of recipes that
ask whose solutions a model should learn before RL.

`2-9-1*4=` (data/arithmetic_chain.py) is worked

    steps    2-9=3;3-1=2;2*4=8;\\boxed{8}                the model's own way
    code     x=2;x-=9;x-=1;x*=4;print(x);\\boxed{8}      its habit: nothing is worked out
    terse    3;2;8;\\boxed{8}                            a data set's: results alone
    long     2-9=3;3-1=2;2*4=8;wait:2-9=3;...\\boxed{8}  a stronger model's: everything twice

The other tasks, known to the base and taught to no arm, show what is forgotten: `r4821=` (the
digits in reverse) and `s4821=` (sorted), answered by the box alone; their digits are 1 to 9.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data.arithmetic_chain import Chain, sample_chain
from data.micro_task import draw_distinct, resample, write_task

DATA_SOURCE = "chain_styles"
# One held-out pool for every seed: arms and seeds are compared on the same problems.
HELD_OUT_SEED = 20250125
DIGITS = "0123456789"
WORD_LENGTH = 4
WORDS: dict[str, Callable[[str], str]] = {
    "reverse": lambda digits: digits[::-1],
    "sort": lambda digits: "".join(sorted(digits)),
}
OTHER_SHARE = 0.2  # of the base's lessons: the tasks of WORDS


@dataclass(frozen=True)
class Word:
    """A task of WORDS on `digits`."""

    task: str
    digits: str

    @property
    def prompt(self) -> str:
        return f"{self.task[0]}{self.digits}="

    @property
    def answer(self) -> str:
        return WORDS[self.task](self.digits)


Problem = Chain | Word


def sample_word(rng: random.Random, task: str) -> Word:
    return Word(task, "".join(rng.choice(DIGITS[1:]) for _ in range(WORD_LENGTH)))


def answer(problem: Problem) -> str:
    return problem.answer if isinstance(problem, Word) else problem.solution(10)[1]


def solution(problem: Problem, style: str, boxed: bool = True) -> str:
    """The response in a style (a word task has only its box); `boxed`: with the answer's box.

    Raises: KeyError for an unknown style.
    """
    if isinstance(problem, Word):
        return f"\\boxed{{{problem.answer}}}"
    steps, result = problem.solution(10)
    operations = zip(problem.operators, problem.operands[1:], strict=True)
    work = {
        "steps": steps,
        "code": f"x={problem.operands[0]};"
        + "".join(f"x{operator}={operand};" for operator, operand in operations)
        + "print(x);",
        "terse": "".join(f"{step[-1]};" for step in steps.split(";")[:-1]),
        "long": f"{steps}wait:{steps}",
    }[style]
    return work + (f"\\boxed{{{result}}}" if boxed else result)


def build(
    folder: Path,
    seed: int,
    *,
    operations: int,
    easy_operations: int,
    train: int,
    easy: int,
    taught: int,
    validation: int,
    test: int,
    sft: int,
    sft_noisy: int,
    noise: float,
    code: float,
    unboxed: float,
) -> None:
    """Write prompts (`train`, `validation`, `easy`, `test_<n>` for chains of `easy_operations`,
    `operations` and one more, `reverse`, `sort`) and lessons (`sft`, `sft_noisy` for the base;
    `foreign` long and `dataset` terse solutions of `taught` training problems) as parquet.

    `operations`: of a training chain; `easy` has `easy_operations`. `code`: share of the base's
    chains that are worked in code, of which `unboxed` end without a box; `noise`: probability that
    a digit of a noisy lesson is resampled. Lessons of the base repeat problems. Held-out problems
    are the same for every seed, and in no other file.
    """
    kinds: dict[str, Callable[[random.Random], Problem]] = {
        f"test_{n}": partial(sample_chain, operations=n, modulus=10)
        for n in (easy_operations, operations, operations + 1)
    }
    if len(kinds) < 3 or not 1 <= easy_operations < operations or taught > train:
        raise ValueError(
            f"recipe.data.options: operations {operations}, easy_operations {easy_operations}, "
            f"taught {taught} and train {train} asked for; use 1 or more easy operations, more "
            "operations than that, and no more taught than train"
        )
    kinds |= {task: partial(sample_word, task=task) for task in WORDS}
    fixed, rng = random.Random(HELD_OUT_SEED), random.Random(seed)
    same: Callable[[Problem], Problem] = lambda problem: problem  # noqa: E731
    hard, simple = kinds[f"test_{operations}"], kinds[f"test_{easy_operations}"]
    files = {name: draw_distinct(fixed, test, draw, same) for name, draw in kinds.items()}
    files["validation"] = draw_distinct(fixed, validation, hard, same, files[f"test_{operations}"])
    held_out = {problem for problems in files.values() for problem in problems}
    files["train"] = draw_distinct(rng, train, hard, same, held_out)
    files["easy"] = draw_distinct(rng, easy, simple, same, held_out)

    def lesson(share: float) -> tuple[str, str]:
        while (problem := _any_problem(rng, operations)) in held_out:
            pass
        style = "code" if rng.random() < code else "steps"
        boxed = style != "code" or rng.random() >= unboxed
        return problem.prompt, resample(rng, solution(problem, style, boxed), share, DIGITS)

    def lessons(problems: Iterable[Problem], style: str) -> list[tuple[str, str]]:
        return [(problem.prompt, solution(problem, style)) for problem in problems]

    write_task(
        folder,
        DATA_SOURCE,
        {name: [(p.prompt, answer(p)) for p in problems] for name, problems in files.items()},
        {
            "sft": [lesson(0.0) for _ in range(sft)],
            "sft_noisy": [lesson(noise) for _ in range(sft_noisy)],
            "foreign": lessons(files["train"][:taught], "long"),
            "dataset": lessons(files["train"][:taught], "terse"),
        },
    )


def _any_problem(rng: random.Random, operations: int) -> Problem:
    """What the base learns: chains of one to `operations` + 1 operations, and the other tasks."""
    if rng.random() < OTHER_SHARE:
        return sample_word(rng, rng.choice(list(WORDS)))
    return sample_chain(rng, rng.randint(1, operations + 1), 10)
