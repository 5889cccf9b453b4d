"""Grader of problems with an integer answer: 1 when the last `\\boxed{...}` behind the thought has
it, else 0. A box that its sentence denies, or that ends a list of boxes, holds no answer."""

from __future__ import annotations

from common.rewards.denial import denied
from common.rewards.mathematics.extract import after_box, last_box, neighbours
from common.rewards.tags import after_thought
from common.rewards.verdict import Grader, Outcome, Row, Verdict

_LONGEST = 32  # characters of an answer that is still read as an integer


def read_integer(text: str) -> int | None:
    """The integer that is all of `text`; commas and spaces inside the number are dropped."""
    if len(text) > _LONGEST:
        return None
    text = text.replace(",", "").replace(" ", "").removeprefix("+")
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() else None


def extract_answer(response: str) -> int | None:
    """The integer in the last closed box."""
    text = after_thought(response, "think")
    box = last_box(text)
    if box is None or denied(text, *box):
        return None
    held = neighbours(text, box)
    answer = read_integer(held[0])
    later = read_integer((after_box(text) or "").strip("$ "))
    return answer if len(held) == 1 and later in (None, answer) else None  # not one of several


def grade(row: Row) -> Verdict:
    """`gold`: the integer as text. Detail `format`: whether an integer could be read."""
    gold = row["gold"]
    if not isinstance(gold, str):
        raise ValueError(f"gold: an integer as text is wanted, not {gold!r}")
    answer, wanted = extract_answer(row["response"] or ""), read_integer(gold)
    extracted = None if answer is None else str(answer)
    details = {"format": float(answer is not None)}
    if wanted is None:
        return Verdict(Outcome.UNGRADABLE, 0.0, extracted, details)
    outcome = Outcome.CORRECT if answer == wanted else Outcome.WRONG
    return Verdict(outcome, float(answer == wanted), extracted, details)


GRADERS = (Grader(name="integer_answer", version="3", grade=grade, metrics=("format",)),)
