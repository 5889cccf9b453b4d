"""The published Countdown reward for responses in words and for those in symbols, with the four
habits counted beside it.

A response of nothing but symbols (data/habit_traces.py) is written out in words first, so that both
scales are graded and counted alike (common/rewards/countdown.py, common/habits/rules.py).
"""

from __future__ import annotations

from common.habits import HABITS
from common.habits.rules import count
from common.rewards import countdown, random_reward
from common.rewards.verdict import Grader, Outcome, Row, Verdict
from data.habit_traces import expand, in_symbols

# `solved` beside the score: 0.1 for a wrong answer is above 0, so group/correct is no accuracy here
_METRICS = ("solved", "format", *HABITS)


def in_words(response: str | None) -> str:
    """The response as a reader sees it."""
    return expand(response or "") if in_symbols(response) else response or ""


def _with_habits(verdict: Verdict, row: Row) -> Verdict:
    gold = countdown.puzzle(row["gold"])
    found = count(row["response"], gold[1] if gold else None)
    found["solved"] = verdict.outcome is Outcome.CORRECT
    details = {k: float(v) for k, v in (verdict.details | found).items()}
    return Verdict(verdict.outcome, verdict.score, verdict.extracted, details)


def _published(row: Row) -> Verdict:
    row = {**row, "response": in_words(row["response"])}
    return _with_habits(countdown.grade_published(row), row)


def _random(row: Row) -> Verdict:
    paid = random_reward.grade(row)
    details = _published(row).details
    return Verdict(paid.outcome, paid.score, None, details)


GRADERS = (
    Grader("published", "1", _published, metrics=_METRICS),
    Grader("random", "1", _random, metrics=_METRICS),
)
