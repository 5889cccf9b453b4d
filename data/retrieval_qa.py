"""Retrieval questions over generated passages: the micro task of answering or refusing. (ours)

Each passage tells a fact, `pet cat`; the question is `job?`. Its answer stands in exactly one
passage, `cook`, or in none, and then the refusal is right. The values of an attribute belong to it
alone, as an age is a number: a model of some 0.5M parameters learns to find them in a few hundred
steps, and does not learn whose fact it is where several entities are told of (log.md).
Ground truth: the gold mapping of the grader `kbqa_strict`, as JSON text.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass

DATA_SOURCE = "retrieval_qa"


@dataclass(frozen=True)
class World:
    """What problems are made of. `attributes`: the values of each, words; `passages` of a prompt;
    `refusal`: the text that declines; `unanswerable`: share of what is drawn that no passage
    answers, of different questions less, since there are fewer of them."""

    attributes: dict[str, list[str]]
    passages: int
    refusal: str
    unanswerable: float

    def __post_init__(self) -> None:
        where = "recipe.data.options.questions"
        values = [value for values in self.attributes.values() for value in values]
        words = [*self.attributes, *values, self.refusal]
        if not all(w.isascii() and w.isalnum() and w == w.lower() for w in words):
            raise ValueError(f"{where}: attributes, values and refusal are a-z and 0-9")
        twice = [word for word, count in Counter(words).items() if count > 1]
        if twice:
            raise ValueError(
                f"{where}: {twice[0]!r} is there twice; all attributes, values and the refusal "
                "must be different"
            )
        if not 2 <= self.passages < len(self.attributes):
            raise ValueError(
                f"{where}: {self.passages} passages with {len(self.attributes)} attributes asked "
                "for; use at least 2 passages, and more attributes than passages"
            )
        if min(map(len, self.attributes.values())) < 2:
            raise ValueError(f"{where}.attributes: give each of them 2 values or more")
        if not 0 <= self.unanswerable <= 1:
            raise ValueError(f"{where}.unanswerable: {self.unanswerable}; use 0 to 1")


@dataclass(frozen=True)
class Problem:
    """`passages`: (attribute, value), one fact each; `attribute`: the one that is asked."""

    passages: tuple[tuple[str, str], ...]
    attribute: str

    @property
    def answer(self) -> str | None:
        """None: in no passage."""
        return dict(self.passages).get(self.attribute)

    @property
    def question(self) -> str:
        return f"{self.attribute}?"

    @property
    def prompt(self) -> str:
        return "\n".join([*map(" ".join, self.passages), self.question])

    @property
    def key(self) -> tuple[frozenset[tuple[str, str]], str]:
        """Equal for problems that differ in the order of passages alone."""
        return frozenset(self.passages), self.attribute

    def ground_truth(self, refusal: str) -> str:
        gold = {"answer": self.answer, "query": self.question, "refusal": refusal}
        return json.dumps(gold, sort_keys=True)


def sample_problem(rng: random.Random, world: World) -> Problem:
    """One problem: attributes of the passages are different, values uniform; asked is one that is
    told or, with the world's probability, one that is not."""
    told = rng.sample(list(world.attributes), world.passages)
    passages = tuple((a, rng.choice(world.attributes[a])) for a in told)
    missing = rng.random() < world.unanswerable
    known = [a for a in world.attributes if a not in told] if missing else told
    return Problem(passages, rng.choice(known))


def worked_answer(rng: random.Random, problem: Problem, refusal: str, noise: float) -> str:
    """The right response or, with probability `noise`, a value that a passage tells in its place:
    a hallucination where the question has no answer."""
    if rng.random() < noise:
        return rng.choice(problem.passages)[1]
    return refusal if problem.answer is None else problem.answer
