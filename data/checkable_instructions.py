"""Tiny instructions that a program can check: the micro task of instruction following. (ours)

A prompt lists constraints on a text of few letters, `3 k, no q, end z, max 2 words:`, and `kkk z`
is an answer. The constraints of a problem are drawn from those that a random text meets, so every
problem can be solved. Ground truth: the gold mapping of the grader `checkable`, as JSON text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.micro_task import Draws, resample, write_task

DATA_SOURCE = "checkable_instructions"
# One held-out pool for every seed: arms and seeds are compared on the same problems.
HELD_OUT_SEED = 20250626

_SHOWN: dict[str, Callable[..., str]] = {
    "count": lambda letter, n: f"{n} {letter}",
    "never": lambda letter: f"no {letter}",
    "start": lambda letter: f"start {letter}",
    "end": lambda letter: f"end {letter}",
    "words": lambda n: f"{n} words",
    "max_words": lambda n: f"max {n} words",
}
Constraint = tuple[Any, ...]  # kind and arguments, as the grader reads them


@dataclass(frozen=True)
class Problem:
    """Constraints in the order in which the prompt states them."""

    alphabet: str
    longest: int
    constraints: tuple[Constraint, ...]

    @property
    def prompt(self) -> str:
        return ", ".join(_SHOWN[kind](*args) for kind, *args in self.constraints) + ":"

    @property
    def key(self) -> frozenset[Constraint]:
        """Equal for problems that differ in the order of their constraints alone."""
        return frozenset(self.constraints)

    @property
    def ground_truth(self) -> str:
        constraints = [list(c) for c in self.constraints]
        gold = {"alphabet": self.alphabet, "constraints": constraints, "longest": self.longest}
        return json.dumps(gold, sort_keys=True)

    def solution(self, letters: int = 1) -> str:
        """A shortest text of at least `letters` letters that meets all constraints, the same for
        every order of them: all words but the last have one letter. Where only one letter meets
        them, it is that one."""
        given = {c[0]: c[1:] for c in self.constraints if c[0] != "count"}
        counts = {c[1]: c[2] for c in self.constraints if c[0] == "count"}
        first, last = given.get("start", ("",))[0], given.get("end", ("",))[0]
        banned = given.get("never", ("",))[0]
        words = given.get("words", (1,))[0]
        single = first == last and words == 1 and not {*counts} - {first}
        if single and counts.get(first, letters) == 1:
            last, letters = "", 1  # one letter is both
        used = first + last
        middle = "".join(k * (n - used.count(k)) for k, n in sorted(counts.items()))
        free = next((k for k in self.alphabet if k != banned and k not in counts), "")
        text = first + middle + free * (max(words, letters) - len(used + middle)) + last
        return " ".join([*text[: words - 1], text[words - 1 :]])


def sample_problem(
    rng: random.Random, alphabet: str, letters: int, words: int, constraints: int
) -> Problem:
    """A problem with `constraints` constraints that a random text of at most `letters` letters in
    at most `words` words meets; no two of them on one matter, but counts of different letters."""
    size = rng.randint(1, letters)
    text = "".join(rng.choice(alphabet) for _ in range(size))
    said = rng.randint(1, min(words, size))
    present = sorted(set(text))
    absent = [k for k in alphabet if k not in present]
    pool: list[Constraint] = [("count", k, text.count(k)) for k in rng.sample(present, 1)]
    pool += [("count", k, text.count(k)) for k in present if k != pool[0][1]][:1]
    pool += [("never", rng.choice(absent))] if absent else []
    pool += [("start", text[0]), ("end", text[-1])]
    pool += [rng.choice((("words", said), ("max_words", said)))]
    chosen = rng.sample(pool, min(constraints, len(pool)))
    longest = 2 * (letters + words)
    return Problem(alphabet, longest, tuple(chosen))


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
    test: int,
    sft: int,
    sft_noisy: int,
    noise: float,
) -> None:
    """Write train, validation, test (prompts), sft and sft_noisy (solutions) as parquet.

    Validation and test problems are the same for every seed, and appear in no other file, in no
    order of their constraints. `letters`, `words`: most in the text that a problem is drawn from;
    `constraints`: of a problem, 1 to 5; `noise`: probability that a letter of a noisy solution is
    resampled. Raises ValueError for options that no problem, or too few different ones, can meet.
    """
    if not alphabet.isascii() or not alphabet.isalpha() or len(set(alphabet)) != len(alphabet):
        raise ValueError(f"recipe.data.options.alphabet: {alphabet!r}; use different ASCII letters")
    if len(alphabet) < 3 or min(letters, words) < 1 or not 1 <= constraints <= 5:
        raise ValueError(
            f"recipe.data.options: {len(alphabet)} letters in the alphabet, letters {letters}, "
            f"words {words}, constraints {constraints} asked for; use at least 3, 1, 1, and 1 to 5"
        )

    draws = Draws(
        lambda rng: sample_problem(rng, alphabet, letters, words, constraints),
        lambda problem: problem.key,
        HELD_OUT_SEED,
        seed,
        train=train,
        validation=validation,
        test=test,
    )

    def solved(problem: Problem, share: float) -> tuple[str, str]:
        return problem.prompt, resample(draws.rng, problem.solution(), share, alphabet)

    prompts = {
        split: [(problem.prompt, problem.ground_truth) for problem in problems]
        for split, problems in draws.splits.items()
    }
    write_task(folder, DATA_SOURCE, prompts, draws.taught(solved, sft, sft_noisy, noise))
