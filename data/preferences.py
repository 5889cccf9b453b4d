"""Preferences over answers to tiny instructions: what the micro reward model learns from. (ours)

Two answers to one prompt of `checkable_instructions` and which of them is better, by one signal:

- `follows`: the answer that meets more of the prompt's constraints.
- `brief`: of two that meet equally many, the shorter one.

Answers are the shortest solution, the same with letters resampled, words left out or letters added,
and the solution of another prompt: what a policy between its base and mastery writes. Which is
better is counted by the rules of the grader `checkable`; a reward model sees only the texts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.rewards.checkable import follows, well_formed
from data.checkable_instructions import HELD_OUT_SEED, Problem, sample_problem
from data.micro_task import draw_distinct, resample
from data.parquet import write_parquet

SIGNALS = ("follows", "brief")
_TRIES = 100  # at a pair of one prompt


def _answers(rng: random.Random, problem: Problem, other: Problem, noise: float) -> list[str]:
    """Different answers to one prompt, good and bad ones."""
    solution = problem.solution()
    words = solution.split(" ")
    cut = " ".join(w for w in words if rng.random() < 0.5) or words[0]
    longer = solution + "".join(rng.choice(problem.alphabet) for _ in range(rng.randint(1, 3)))
    found = [solution, cut, longer, other.solution()]
    found += [resample(rng, solution, noise, problem.alphabet) for _ in range(2)]
    return list(dict.fromkeys(found))


def _met(problem: Problem, answer: str) -> int:
    """How many of the prompt's constraints the answer meets."""
    text = well_formed(answer, problem.alphabet, problem.longest)
    return 0 if text is None else sum(follows(text, list(c)) for c in problem.constraints)


def pair(
    rng: random.Random, problem: Problem, other: Problem, signal: str, noise: float
) -> tuple[str, str] | None:
    """(better, worse) answer to the prompt by `signal`; None where these answers have none."""
    answers = _answers(rng, problem, other, noise)
    rng.shuffle(answers)
    met = {answer: _met(problem, answer) for answer in answers}
    for first in answers:
        for second in answers:
            if signal == "follows" and met[first] > met[second]:
                return first, second
            if signal == "brief" and met[first] == met[second] and len(first) < len(second):
                return first, second
    return None


def preferences(
    rng: random.Random,
    problems: Sequence[Problem],
    draw: Callable[[random.Random], Problem],
    noise: float,
) -> list[dict[str, Any]]:
    """A row for each of `problems`, the signals in turn. `draw`: the other prompts.

    Raises: ValueError when a prompt has no pair: the options make answers too much alike.
    """
    rows = []
    for number, problem in enumerate(problems):
        signal = SIGNALS[number % len(SIGNALS)]
        tries = (pair(rng, problem, draw(rng), signal, noise) for _ in range(_TRIES))
        found = next((p for p in tries if p is not None), None)
        if found is None:
            raise ValueError(
                f"recipe.data.options: no two answers to {problem.prompt!r} differ by {signal}; "
                "raise letters, words or noise"
            )
        turns = [
            [{"role": "user", "content": problem.prompt}, {"role": "assistant", "content": answer}]
            for answer in found
        ]
        rows.append({"chosen": turns[0], "rejected": turns[1], "signal": signal})
    return rows


def build(
    folder: Path,
    seed: int,
    *,
    alphabet: str,
    letters: int,
    words: int,
    constraints: int,
    train: int,
    validation: int,
    noise: float,
) -> None:
    """Write preferences and preferences_validation as parquet: `chosen` and `rejected` chats and
    the `signal` that tells them apart.

    Validation prompts are the same for every seed and appear in no other file. `noise`: probability
    that a letter of a damaged answer is resampled; the others: see `checkable_instructions.build`.
    """

    def draw(rng: random.Random) -> Problem:
        return sample_problem(rng, alphabet, letters, words, constraints)

    fixed, rng = random.Random(HELD_OUT_SEED), random.Random(seed)
    held_out = draw_distinct(fixed, validation, draw, lambda problem: problem.key)
    learnt = draw_distinct(rng, train, draw, lambda problem: problem.key, held_out)
    for name, source, problems in (
        ("preferences_validation", fixed, held_out),
        ("preferences", rng, learnt),
    ):
        write_parquet(folder / f"{name}.parquet", preferences(source, problems, draw, noise))
