"""SimpleRL's reward, and the style of a response beside it.

`published` is the training reward (common/rewards/simplerl.py: +1, -0.5, or -1 without a box),
`random` the control: +1 or -0.5 by a coin. Both say of each response whether it has the `format`
(the substring `boxed`), holds `code` and a word of `reflection`, so that training logs these shares
at every step (`group/code` and so on). The patterns are ours; the sources give none.
"""

from __future__ import annotations

import re
from dataclasses import replace

from common.rewards import random_reward, simplerl
from common.rewards.mathematics import fallback
from common.rewards.verdict import Grader, Outcome, Row, Verdict

METRICS = ("format", "code", "reflection")  # of a verdict's details, 1 or 0
# A fence, a call of print, a definition, an import or sympy: what Qwen2.5-Math writes as Python.
CODE = re.compile(
    r"```|\bprint\(|\bdef [A-Za-z_]|^[ \t]*(?:import|from) [A-Za-z_]|\bsympy\b", re.MULTILINE
)
REFLECTION = re.compile(
    r"\b(?:wait|hmm|re-?check|re-?evaluate|re-?examine|re-?think|double[- ]check|mistake"
    r"|alternatively|(?:let me|let's|let us) (?:check|verify))\b",
    re.IGNORECASE,
)


def _styled(row: Row, verdict: Verdict) -> Verdict:
    text = row.get("response") or ""
    form = {"format": float("boxed" in text)} | verdict.details
    style = {"code": float(bool(CODE.search(text)))}
    style["reflection"] = float(bool(REFLECTION.search(text)))
    return replace(verdict, details=form | style)


def _published(row: Row) -> Verdict:
    return _styled(row, simplerl.grade(row))


def _fast(row: Row) -> Verdict | None:
    verdict = simplerl.fast(row)
    return None if verdict is None else _styled(row, verdict)


def _random(row: Row) -> Verdict:
    verdict = random_reward.grade(row)
    right = verdict.outcome is Outcome.CORRECT
    score = simplerl.CORRECT if right else simplerl.WRONG
    return _styled(row, replace(verdict, score=score))


GRADERS = (
    Grader(
        "published",
        "1",
        _published,
        bounded=False,
        warm=fallback.warm,
        fast=_fast,
        metrics=METRICS,
    ),
    Grader("random", "1", _random, metrics=METRICS),
)
