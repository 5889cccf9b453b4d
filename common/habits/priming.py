"""Priming sets written by a language model: Countdown solutions that show the asked habits.

As kanishkg/cognitive-behaviors @9c90d333: 1,000 puzzles of 3 or 4 numbers with targets from 10 to
25, 5 % more asked for than wanted, temperature 0.5, at most 1,024 tokens. The prompts are ours
(`data/prompts/priming_*.txt`). Sets without thoughts are made from one with them, without a model.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterable
from typing import Any

from common.console import say
from common.habits.chat import Chat
from common.rewards.countdown import grade_published
from common.rewards.verdict import Outcome
from data import prompts
from data.countdown import Puzzle, Space
from data.micro_task import draw_distinct

MAX_TOKENS, TEMPERATURE = 1024, 0.5
SEED, EXTRA = 42, 0.05
MOST = 20  # puzzles asked for each solution wanted, at most: what a set may cost
COUNTS, LARGEST, TARGETS = (3, 4), 99, (10, 25)
ASKED = {  # set: prompt template
    "all_strategies": "priming_all_strategies",
    "only_backtracking": "priming_only_backtracking",
    "backtracking_verification": "priming_backtracking_verification",
    "backtracking_subgoal": "priming_backtracking_subgoal",
    "backtracking_backward": "priming_backtracking_backward",
    "incorrect": "priming_all_strategies",
}
DERIVED = ("empty_cot", "dots")
_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)
_ANSWER = re.compile(r"<answer>([^<]*)</answer>")

Row = dict[str, Any]


def puzzles(count: int) -> list[Puzzle]:
    """`count` different solvable puzzles, the same on every call."""
    space = Space(COUNTS, LARGEST, TARGETS, integers_only=True)
    rng = random.Random(SEED)
    return draw_distinct(rng, count, space.draw, lambda p: p.identity)


def response_of(text: str) -> str | None:
    """What follows the prompt's `<think>`: the thought, and the last answer on a line of its own;
    None where the model wrote no thought with an answer behind it."""
    thought = _THOUGHT.search(text)
    if thought is None:
        return None
    answers = _ANSWER.findall(text[thought.end() :])
    if not answers:
        return None
    return f"{thought[1].strip()} </think>\n<answer> {answers[-1].strip()} </answer>"


def prime(chat: Chat, name: str, wanted: int) -> list[Row]:
    """Rows of a set: numbers, target, response, and whether its answer is right.

    `incorrect` keeps wrong answers alone. What is missing is asked for again, by the share that
    was of use until then, up to `MOST` puzzles for each row wanted; nothing more of a model whose
    answers cannot be read.
    Raises: ValueError for an unknown set, or a model that gives too little; ChatError.
    """
    if name not in ASKED:
        raise ValueError(f"no model writes a set {name!r}; there is {', '.join(ASKED)}")
    template = prompts.load(ASKED[name])
    rows: list[Row] = []
    drawn = read = 0
    while len(rows) < wanted:
        if drawn == MOST * wanted or (drawn and not read):
            raise ValueError(
                f"{name}: {len(rows)} of {wanted} solutions after {drawn} puzzles; the model "
                "writes no <think> and <answer>, or none that the set can use"
            )
        of_use = max(len(rows) / drawn, 1 / MOST) if drawn else 1.0
        more = math.ceil((wanted - len(rows)) / of_use * (1 + EXTRA))
        more = min(more, MOST * wanted - drawn)
        fresh = puzzles(drawn + more)[drawn:]
        drawn += more
        answers = chat.answers([template.render(p.gold) for p in fresh])
        for puzzle, answer in zip(fresh, answers, strict=True):
            response = response_of(answer.text)
            if response is None:
                continue
            read += 1
            right = grade_published({"response": response, "gold": puzzle.gold}).outcome
            if name == "incorrect" and right is Outcome.CORRECT:
                continue
            rows.append(puzzle.gold | {"response": response, "right": right is Outcome.CORRECT})
        say(f"{name}: {min(len(rows), wanted)} of {wanted} solutions after {drawn} puzzles")
    return rows[:wanted]


def derive(name: str, rows: Iterable[Row], tokens: Callable[[str], int]) -> list[Row]:
    """The rows with their thoughts emptied (`empty_cot`), or as many dots in their place as
    `tokens` counts, but one (`dots`). Raises: ValueError for another name."""
    if name not in DERIVED:
        raise ValueError(f"no set {name!r} is made from another; there is {', '.join(DERIVED)}")
    found = []
    for row in rows:
        thought, _, rest = row["response"].partition("</think>")
        filler = " " if name == "empty_cot" else " ." * max(0, tokens(thought) - 1) + " "
        found.append(row | {"response": f"{filler}</think>{rest}"})
    return found
