"""Code problems: a solution in Python is right when it passes every test of the problem.

The solution is what stands between the last two lines with three backticks, as in LiveCodeBench's
`extract_code` (lcb_runner/utils/extraction_utils.py) since it takes the last block, not the first.
It runs in the sandbox of this machine, or of the service that SANDBOX_URL names;
common/sandbox/README.md says what that covers.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import Any

from common.rewards.verdict import Grader, Outcome, Row, Verdict
from common.sandbox import runner
from common.sandbox.judge import Backend, Judgement, judge
from common.sandbox.problem import Problem
from common.sandbox.service import Service

FENCE = "```"


def extract(response: str) -> str | None:
    """The text between the last two lines that hold a fence, or None."""
    lines = response.split("\n")
    fences = [i for i, line in enumerate(lines) if FENCE in line]
    if len(fences) < 2:
        return None
    return "\n".join(lines[fences[-2] + 1 : fences[-1]])


_service_lock = threading.Lock()


@lru_cache
def _service(url: str) -> Service:
    return Service(url)


def backend() -> Backend:
    """What runs solutions for this process.

    Raises: ValueError, in one line, for a wrong SANDBOX_URL, or without one where this machine
    cannot lock programs down.
    """
    url = os.environ.get("SANDBOX_URL")
    if url:
        with _service_lock:
            return _service(url)
    runner.protections()
    return runner.shared()


def grade(row: Row) -> Verdict:
    """Score 1 for a solution that passes all tests, else 0; `tests_passed` is the share of tests
    before the first that it does not pass, `verdicts` says how each ended. Ungradable: the sandbox
    was lost."""
    problem = Problem.of(row.get("gold"))
    sandbox = backend()
    solution = extract(row["response"]) if row["response"] is not None else None
    if solution is None:
        return Verdict(Outcome.WRONG, 0.0, None, {"tests_passed": 0.0})
    verdicts = judge(solution, problem, sandbox)
    passed = verdicts.count(Judgement.PASSED)
    details: dict[str, Any] = {
        "tests_passed": passed / len(verdicts),
        "verdicts": [verdict.value for verdict in verdicts if verdict is not Judgement.NOT_RUN],
    }
    if passed == len(verdicts):
        return Verdict(Outcome.CORRECT, 1.0, solution, details)
    lost = Judgement.LOST in verdicts
    return Verdict(Outcome.UNGRADABLE if lost else Outcome.WRONG, 0.0, solution, details)


GRADERS = (Grader("code", "2", grade, metrics=("tests_passed",), sandboxed=True),)
