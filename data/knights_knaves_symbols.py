"""Knights & Knaves in symbols: one character per token for the tiny models of the micro scale.

A prompt is each person's letter and statement, padded to equal length: `A!Bk__BAk=Bn?` is "A: B is
not a knight. B: A is a knight if and only if B is a knave." A solution walks through the worlds,
all knights first; in each it writes what everybody is and whether their statement is true there
(1, 0), up to the first that clashes (x) or to the end (.): `{kk0xkn01xnk11xnn10x` and so on, then
the answer, `}[AnBk]`. `expand` writes a response in the words that the graders read, so that the
published reward scores the tiny models too.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product

from data.knights_knaves_logic import KNAVE, KNIGHT, Puzzle, Statement, knight_tables, truth_table
from data.knights_knaves_text import NAMES
from data.micro_task import resample


@dataclass(frozen=True)
class Symbols:
    """The character of everything that is written; each is used for one thing only."""

    people: str = "ABCDEFGH"
    knight: str = "k"
    knave: str = "n"
    negation: str = "!"
    operators: str = "&|>="  # and, or, implies, if and only if
    padding: str = "_"
    question: str = "?"
    true: str = "1"
    false: str = "0"
    clash: str = "x"
    holds: str = "."
    think: str = "{}"  # opens and closes the worlds
    answer: str = "[]"  # opens and closes the answer

    def __post_init__(self) -> None:
        if len(set(self.alphabet)) < len(self.alphabet):
            raise ValueError(f"recipe.data.options.symbols: one character is used twice in {self}")

    @property
    def alphabet(self) -> str:
        """Every character of prompts and solutions."""
        return "".join(
            (self.people, self.knight, self.knave, self.negation, self.operators, self.padding)
        ) + "".join(
            (self.question, self.true, self.false, self.clash, self.holds, self.think, self.answer)
        )

    def _leaf(self, statement: Statement) -> str:
        kind, person = statement
        return self.people[person] + (self.knight if kind == KNIGHT else self.knave)

    def _statement(self, statement: Statement) -> str:
        kind = statement[0]
        if kind in (KNIGHT, KNAVE):
            text = self._leaf(statement)
        elif kind == "not":
            text = self.negation + self._leaf(statement[1])
        else:
            operator = self.operators[("and", "or", "->", "<=>").index(kind)]
            text = self._leaf(statement[1]) + operator + self._leaf(statement[2])
        return text.ljust(5, self.padding)

    def prompt(self, puzzle: Puzzle, order: list[int] | None = None) -> str:
        """Six characters per person (in `order`, if given), then the question mark."""
        order = order or list(range(len(puzzle.statements)))
        said = (self.people[i] + self._statement(puzzle.statements[i]) for i in order)
        return "".join(said) + self.question

    def solution(self, puzzle: Puzzle) -> str:
        """The worlds up to the one without a clash, and the answer."""
        people = len(puzzle.statements)
        tables = knight_tables(people)
        said = [truth_table(s, tables) for s in puzzle.statements]
        parts = [self.think[0]]
        for world in product((True, False), repeat=people):
            bit = sum(is_knight << i for i, is_knight in enumerate(world))
            parts += [self.knight if is_knight else self.knave for is_knight in world]
            for is_knight, table in zip(world, said, strict=True):
                true = bool(table >> bit & 1)
                parts.append(self.true if true else self.false)
                if true != is_knight:
                    parts.append(self.clash)
                    break
            else:
                parts.append(self.holds)
                break
        parts += [self.think[1], self.answer[0]]
        for letter, is_knight in zip(self.people, puzzle.solution, strict=False):
            parts += [letter, self.knight if is_knight else self.knave]
        return "".join(parts) + self.answer[1]

    def gold(self, puzzle: Puzzle) -> dict[str, str]:
        """Role by name, for the graders: the names that `expand` gives to the letters."""
        roles = ("knight" if is_knight else "knave" for is_knight in puzzle.solution)
        return dict(zip(NAMES, roles, strict=False))

    def expand(self, response: str) -> str:
        """A response in words: tags for brackets, names for letters, "is a knight" for a role."""
        words: dict[str, str | int | None] = {
            self.think[0]: "<think>",
            self.think[1]: "</think>",
            self.answer[0]: "<answer>",
            self.answer[1]: "</answer>",
            self.knight: " is a knight\n",
            self.knave: " is a knave\n",
            **dict(zip(self.people, NAMES, strict=False)),
        }
        return response.translate(str.maketrans(words))

    def resample(self, rng: random.Random, solution: str, share: float) -> str:
        """Replace each role and each truth value, with probability `share`, by a random one."""
        return resample(rng, solution, share, self.knight + self.knave, self.true + self.false)
