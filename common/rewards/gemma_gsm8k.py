"""Rewards and scores of the article on reward design for Gemma-2-2B-it and GSM8K (Wei Xinyu).

Source: xinyuwei-david/david-share @83521fcb, Deep-Learning/Selection-SFT-RL/code: gemma-grpo2.py
(`old`), gemma-grpo3.py (`published_new`) and gsm8k-eval-tf2.py (format, plausible, exact). `gold`
is the number behind `####` as GSM8K has it, with its commas.

As published, predictions lose their commas and golds do not, so that the 79 training and 14 test
golds with a comma cannot be reached; `published_new` also takes neither a sign nor decimals. The
`*_fixed` rules compare numbers by value (ours).

A reward is a part for correctness and a part for format. For correctness, choose an answer
(`last_answer`, `voted_answer`) and pay for it (a `*_credit`); `voting.py` does so for groups.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable

from common.rewards.gsm8k import gold_number, read_number
from common.rewards.tags import blocks
from common.rewards.verdict import Grader, Outcome, Row, Verdict

FULL = 2.0  # the reward of a right answer
HALF = 1.0  # of an answer that is off by one
SMOOTH_SCALE = 1.0  # distance at which a smooth credit has fallen by the factor e
_INT_DIGITS = 4300  # CPython refuses to read longer integers

_UNSIGNED = str.maketrans("", "", "%$,")
_BLANKS = re.compile(r"[%,\s$]")
_MIDDLE = re.compile(r"</reasoning>\s*<answer>")
# Superset of the published `-?[\d,]*\.?\d+`, which takes quadratic time on commas: the same last
# number, once runs without a digit are left out and commas are removed.
_RUNS = re.compile(r"-?(?:[\d,]+(?:\.\d+)?|\.\d+)")
_DIGIT = re.compile(r"\d")

Choice = Callable[[str], str | None]
Credit = Callable[[str, str], float]


def format_reward(response: str) -> float:
    """1 when the response is `<reasoning>...</reasoning>`, blanks, `<answer>...</answer>` and at
    most one newline; further answers inside pass. The published expression in linear time."""
    body = response.removesuffix("\n")
    if not body.startswith("<reasoning>") or not body.endswith("</answer>"):
        return 0.0
    middle = _MIDDLE.search(body, len("<reasoning>"))
    return float(middle is not None and middle.end() <= len(body) - len("</answer>"))


def answers(response: str) -> list[str]:
    """Every `<answer>...</answer>` of the response, without percent, dollar sign and comma."""
    return [block.translate(_UNSIGNED).strip() for block in blocks(response, "answer")]


def last_answer(response: str) -> str | None:
    """The last answer; None without one."""
    return next(reversed(answers(response)), None)


def voted_answer(response: str) -> str | None:
    """The commonest of the response's own answers, the first one among equals: the "vote" of the
    published code, which sees one response at a time."""
    counted = Counter(answers(response)).most_common(1)
    return counted[0][0] if counted else None


def last_number(response: str) -> str | None:
    """The last number anywhere, without percent, dollar sign, comma and blanks."""
    last = None
    for match in _RUNS.finditer(response):
        last = match[0] if _DIGIT.search(match[0]) else last
    return None if last is None else _BLANKS.sub("", last)


def text_credit(answer: str, gold: str) -> float:
    """`old`: full for the gold's own text."""
    return FULL if answer == gold else 0.0


def digits_credit(answer: str, gold: str) -> float:
    """`published_new`: full for the gold, half when off by one; both must be digits and no more.

    The original stops with an error at a digit that is no decimal (`²`) and at more than 4,300
    digits; such an answer earns nothing here.
    """
    if not (answer.isdecimal() and gold.isdecimal()) or len(answer) > _INT_DIGITS:
        return 0.0
    return {0: FULL, 1: HALF}.get(abs(int(answer) - int(gold)), 0.0)


def distance(answer: str, gold: str) -> float | None:
    """|answer - gold|; None unless both are numbers."""
    left, right = read_number(answer), read_number(gold)
    return None if left is None or right is None else abs(float(left - right))


def equal_credit(answer: str, gold: str) -> float:
    """Full for a number equal to the gold (ours)."""
    return FULL if distance(answer, gold) == 0 else 0.0


def step_credit(answer: str, gold: str) -> float:
    """Full for a number equal to the gold, half when at most one off (ours)."""
    off = distance(answer, gold)
    return 0.0 if off is None or off > 1 else HALF if off else FULL


def smooth_credit(answer: str, gold: str) -> float:
    """2 exp(-|answer - gold| / SMOOTH_SCALE). The article names a smooth difference as an
    improvement; the form and the scale are ours."""
    off = distance(answer, gold)
    return 0.0 if off is None else FULL * math.exp(-off / SMOOTH_SCALE)


def rewarder(choose: Choice, credit: Credit) -> Callable[[Row], Verdict]:
    """A grader whose score is the credit of the chosen answer plus the format reward (details
    `correctness`, `format`, and how many `answers` there were); correct means full credit."""

    def grade(row: Row) -> Verdict:
        response, gold = row["response"] or "", row["gold"]
        if gold_number(gold) is None:
            return Verdict(Outcome.UNGRADABLE, 0.0)
        answer = choose(response)
        parts = {
            "correctness": 0.0 if answer is None else credit(answer, gold),
            "format": format_reward(response),
        }
        outcome = Outcome.CORRECT if parts["correctness"] == FULL else Outcome.WRONG
        counted = {"answers": float(len(answers(response)))}
        return Verdict(outcome, sum(parts.values()), answer, parts | counted)

    return grade


def scorer(choices: tuple[Choice, ...], credit: Credit) -> Callable[[Row], Verdict]:
    """A grader that says 1 when one of the chosen answers has full credit, else 0."""

    def grade(row: Row) -> Verdict:
        response, gold = row["response"] or "", row["gold"]
        if gold_number(gold) is None:
            return Verdict(Outcome.UNGRADABLE, 0.0)
        chosen = [answer for choose in choices if (answer := choose(response)) is not None]
        for answer in chosen:
            if credit(answer, gold) == FULL:
                return Verdict(Outcome.CORRECT, 1.0, answer)
        return Verdict(Outcome.WRONG, 0.0, chosen[0] if chosen else None)

    return grade


def grade_format(row: Row) -> Verdict:
    """The format as the evaluation asks for it: blanks around the response do not count."""
    good = format_reward((row["response"] or "").strip())
    return Verdict(Outcome.CORRECT if good else Outcome.WRONG, good)


_PARTS = ("correctness", "format", "answers")
_LAST, _ANYWHERE = (last_answer,), (last_answer, last_number)
GRADERS = (
    Grader("gemma_format", "1", grade_format),
    Grader("gemma_plausible", "1", scorer(_ANYWHERE, text_credit)),
    Grader("gemma_plausible_fixed", "1", scorer(_ANYWHERE, equal_credit)),
    Grader("gemma_exact", "1", scorer(_LAST, text_credit)),
    Grader("gemma_exact_fixed", "1", scorer(_LAST, equal_credit)),
    Grader("gemma_old", "1", rewarder(last_answer, text_credit), metrics=_PARTS),
    Grader("gemma_old_fixed", "1", rewarder(last_answer, equal_credit), metrics=_PARTS),
    Grader("gemma_published_new", "1", rewarder(voted_answer, digits_credit), metrics=_PARTS),
    Grader("gemma_published_new_fixed", "1", rewarder(voted_answer, step_credit), metrics=_PARTS),
    Grader("gemma_smooth", "1", rewarder(last_answer, smooth_credit), metrics=_PARTS),
)
