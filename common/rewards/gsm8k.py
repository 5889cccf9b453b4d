"""GSM8K: one number, stated as the final answer and as nothing else. `gold`: that number as text.

What counts as the final answer is ours; its agreement with the verdicts that OpenAI published is
tested. The article's own rules are in `gemma_gsm8k.py`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from common.rewards.denial import denied
from common.rewards.mathematics.extract import held, last_box
from common.rewards.tags import after_thought, last_span
from common.rewards.verdict import Grader, Outcome, Row, Verdict

LONGEST = 64  # characters of an answer that is still read as a number
_LONGEST_LINE = 160  # characters of a last line without any mark that is still read

_NUMBER = re.compile(
    r"[*$\\\s]*([-+]?)[$\\]*((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)[*$\\%.\s]*", re.ASCII
)
# A mark that begins a line; what follows on that line is the answer.
_LINE_MARK = re.compile(r"^(?:####|A: )(.*)$", re.MULTILINE)
_LISTING = re.compile(r"(?:[\s,;/&$*]|\b(?:and|or)\b)*", re.I)  # between two answers of one list
_LONGEST_LISTING = 40
_STATEMENT = re.compile(
    r"(?:(?:so|thus|hence|therefore),? )?(?:the )?(?:final )?answer(?: is:?|:) ?(.*)", re.I
)


def read_number(text: str) -> Decimal | None:
    """The number that a text is: with a sign, thousands commas and decimals, and around it a dollar
    or percent sign, emphasis and a full stop. None for anything else: words, units, two numbers.

    A unit may change the value (3 dozen, 2 million), so a number beside a word is not read.
    """
    if len(text) > LONGEST:
        return None
    match = _NUMBER.fullmatch(text)
    return Decimal(match[1] + match[2].replace(",", "")) if match else None


Mark = tuple[int, int, str]  # where it begins and ends, and the answer that it marks


def final_answer(response: str) -> str | None:
    """What the response states as its final answer, behind its thought.

    The last of: a line that begins with `####` or `A: `, the last `<answer>...</answer>`, the last
    `\\boxed{...}`. Without any of these, the last line where it is a number alone, or "The answer
    is" and a number. None: no answer, one that its own sentence denies, or one of several (`17 or
    18`, each with its mark).
    """
    text = after_thought(after_thought(response, "think"), "reasoning")
    marks = sorted(_marks(text))
    if not marks:
        return _last_line(text)
    start, end, answer = marks[-1]
    if end <= start or denied(text, start, end):
        return None
    before = [mark for mark in marks if mark[1] <= start]
    if before and before[-1][2].strip() != answer.strip():
        between = text[before[-1][1] : start]
        if len(between) <= _LONGEST_LISTING and _LISTING.fullmatch(between):
            return None
    later = _last_line(text[end:])
    if later is not None and read_number(later) != read_number(answer.strip()):
        return None  # another answer follows
    return answer.strip()


def _marks(text: str) -> Iterator[Mark]:
    """The last two marks of each kind; a box that never closes ends where it begins."""
    for line in deque(_LINE_MARK.finditer(text), maxlen=2):
        yield line.start(), line.end(), line[1]
    rest = text
    for _ in range(2):
        span = last_span(rest, "answer")
        if span is None:
            break
        start, end = span[0] - len("<answer>"), span[1] + len("</answer>")
        yield start, end, text[slice(*span)]
        rest = rest[:start]
    rest = text
    for _ in range(2):
        box = last_box(rest)
        if box is None:
            break
        yield *box, held(rest, box).replace("{,}", ",")
        rest = rest[: box[0]]


def _last_line(text: str) -> str | None:
    line = text.rstrip()[-_LONGEST_LINE - 1 :].rpartition("\n")[2]
    if len(line) > _LONGEST_LINE:
        return None
    line = line.replace("*", "").strip()
    statement = _STATEMENT.fullmatch(line)
    answer = statement[1].strip() if statement else line
    return answer if read_number(answer) is not None else None


def gold_number(gold: Any) -> Decimal | None:
    """The number of a row's gold; None for a text that is no number. Raises: ValueError for a gold
    that is no text."""
    if not isinstance(gold, str):
        raise ValueError(f"gold: a number as text is wanted, not {type(gold).__name__}")
    return read_number(gold)


def grade(row: Row) -> Verdict:
    """1 when the final answer is a number and equal in value to the gold, else 0. Detail `format`:
    whether a number could be read."""
    gold = gold_number(row["gold"])
    if gold is None:
        return Verdict(Outcome.UNGRADABLE, 0.0)
    answer = final_answer(row["response"] or "")
    number = read_number(answer) if answer is not None else None
    right = number == gold
    outcome = Outcome.CORRECT if right else Outcome.WRONG
    shown = None if answer is None else answer[:LONGEST]
    return Verdict(outcome, float(right), shown, {"format": float(number is not None)})


GRADERS = (Grader("gsm8k", "2", grade, metrics=("format",)),)
