"""Retrieval questions over generated passages: the micro task of answering or refusing. (ours)

Each passage tells facts of one entity, `mu: age 3, pet 7`; the question is `mu pet?`. Its answer
stands in exactly one passage, `7`, or in none, and then the refusal is right. The passages beside
the one that is wanted are distractors: some tell the same attribute of others, and where there is
no answer either the attribute is missing from the entity's passage or the whole passage is.
Ground truth: the gold mapping of the grader `kbqa_strict`, as JSON text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.micro_task import Draws, write_task

DATA_SOURCE = "retrieval_qa"
# One held-out pool for every seed: arms and seeds are compared on the same problems.
HELD_OUT_SEED = 20250627


@dataclass(frozen=True)
class World:
    """What problems are made of. `letters`: of names, which have `name_length`; `attributes` and
    `values`: words; `passages` of a prompt with `facts` each; `refusal`: the text that declines;
    `unanswerable`: share of the questions that no passage answers."""

    letters: str
    name_length: int
    attributes: tuple[str, ...]
    values: tuple[str, ...]
    refusal: str
    passages: int
    facts: int
    unanswerable: float

    def __post_init__(self) -> None:
        where = "recipe.data.options"
        words = [*self.attributes, *self.values, self.refusal]
        if not all(w.isascii() and w.isalnum() and w == w.lower() for w in [*words, self.letters]):
            raise ValueError(f"{where}: letters, attributes, values and refusal are a-z and 0-9")
        if len({*words}) != len(words):
            raise ValueError(f"{where}: attributes, values and refusal must all be different")
        if not 1 <= self.facts < len(self.attributes) or len(self.values) < 2:
            raise ValueError(
                f"{where}: facts {self.facts} of {len(self.attributes)} attributes and "
                f"{len(self.values)} values asked for; use fewer facts than attributes, 2 values"
            )
        names = len(set(self.letters)) ** self.name_length
        if self.passages < 2 or names < 2 * self.passages:
            raise ValueError(
                f"{where}: {self.passages} passages with {names} possible names asked for; use at "
                "least 2 passages, and twice as many names"
            )
        if not 0 <= self.unanswerable <= 1:
            raise ValueError(f"{where}.unanswerable: {self.unanswerable}; use 0 to 1")


@dataclass(frozen=True)
class Problem:
    """`passages`: (name, facts), facts: (attribute, value); `answer` None: in no passage."""

    passages: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    name: str
    attribute: str
    answer: str | None

    @property
    def question(self) -> str:
        return f"{self.name} {self.attribute}?"

    @property
    def prompt(self) -> str:
        lines = [f"{name}: " + ", ".join(map(" ".join, facts)) for name, facts in self.passages]
        return "\n".join([*lines, self.question])

    @property
    def key(self) -> tuple[frozenset[tuple[str, frozenset[tuple[str, str]]]], str]:
        """Equal for problems that differ in the order of passages or facts alone."""
        return frozenset((n, frozenset(f)) for n, f in self.passages), self.question

    def ground_truth(self, refusal: str) -> str:
        gold = {"answer": self.answer, "query": self.question, "refusal": refusal}
        return json.dumps(gold, sort_keys=True)

    def told(self) -> list[str]:
        """All values in the passages, in order."""
        return [value for _, facts in self.passages for _, value in facts]


def sample_problem(rng: random.Random, world: World) -> Problem:
    """One problem. Names are different; attributes of a passage are different; values are uniform.
    Of the unanswerable ones half have a passage of the entity, without the attribute."""

    def name() -> str:
        return "".join(rng.choice(world.letters) for _ in range(world.name_length))

    def passage(entity: str, attributes: Sequence[str]) -> tuple[str, tuple[tuple[str, str], ...]]:
        return entity, tuple((a, rng.choice(world.values)) for a in attributes)

    names: list[str] = []
    while len(names) < world.passages + 1:
        if (drawn := name()) not in names:
            names.append(drawn)
    asked = rng.choice(world.attributes)
    others = [a for a in world.attributes if a != asked]
    passages = []
    for i, entity in enumerate(names[:-1]):
        # the first passage is the entity's own; the second tells what is asked, of another
        with_asked = i < 2 or rng.random() < world.facts / len(world.attributes)
        chosen = rng.sample(others, world.facts - with_asked) + [asked] * with_asked
        rng.shuffle(chosen)
        passages.append(passage(entity, chosen))
    wanted = names[0]
    answer: str | None = dict(passages[0][1])[asked]
    if rng.random() < world.unanswerable:
        answer = None
        if rng.random() < 0.5:
            passages[0] = passage(wanted, rng.sample(others, world.facts))
        else:
            wanted = names[-1]
    rng.shuffle(passages)
    return Problem(tuple(passages), wanted, asked, answer)


def worked_answer(rng: random.Random, problem: Problem, refusal: str, noise: float) -> str:
    """The right response or, with probability `noise`, a value that a passage tells in its place:
    a hallucination where the question has no answer."""
    if rng.random() < noise:
        return rng.choice(problem.told())
    return refusal if problem.answer is None else problem.answer


def build(
    folder: Path,
    seed: int,
    *,
    letters: str,
    name_length: int,
    attributes: Sequence[str],
    values: Sequence[str],
    refusal: str,
    passages: int,
    facts: int,
    unanswerable: float,
    train: int,
    validation: int,
    test: int,
    sft: int,
    sft_noisy: int,
    noise: float,
) -> None:
    """Write train, validation, test (prompts), sft and sft_noisy (responses) as parquet.

    Validation and test problems are the same for every seed, and appear in no other file, in no
    order of passages or facts. `noise`: see `worked_answer`; the other options: see `World`.
    """
    world = World(
        letters, name_length, tuple(attributes), tuple(values), refusal, passages, facts,
        unanswerable,
    )  # fmt: skip

    draws = Draws(
        lambda rng: sample_problem(rng, world),
        lambda problem: problem.key,
        HELD_OUT_SEED,
        seed,
        train=train,
        validation=validation,
        test=test,
    )

    def answered(problem: Problem, share: float) -> tuple[str, str]:
        return problem.prompt, worked_answer(draws.rng, problem, refusal, share)

    prompts = {
        split: [(problem.prompt, problem.ground_truth(refusal)) for problem in problems]
        for split, problems in draws.splits.items()
    }
    write_task(folder, DATA_SOURCE, prompts, draws.taught(answered, sft, sft_noisy, noise))
