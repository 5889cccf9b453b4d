"""Tests of a code problem, run on one solution: a verdict for each.

A stdin test gives the program a text and compares what it prints. A function test calls a function,
or a method of the class `Solution`, with arguments in JSON, one a line, and compares the value.
Both compare as LiveCodeBench does (@15808c76, lcb_runner/evaluation/testing_util.py), in this
process: the program never sees what is expected, and cannot hand in an object that equals all.
"""

from __future__ import annotations

import json
import re
import secrets
from decimal import Decimal, DecimalException
from enum import Enum
from typing import Protocol

from common.sandbox.prelude import PRELUDE
from common.sandbox.problem import Problem
from common.sandbox.runner import Limits, Run, Status

_FUTURE = re.compile(r"^from __future__ import .*$", re.MULTILINE)
# Put before a solution whose function is called: it is imported, so what it keeps for a run of its
# own is left out, as in LiveCodeBench; dataclasses look for their module by name.
_IMPORTED = "sys.modules['solution'] = sys.modules[__name__]; __name__ = 'solution'\n"
# Put after a solution: calls the function and prints its value after a mark. A value that JSON has
# no like of (a set, a tuple in a list) becomes one that no expected value equals.
_CALL = """

def _call_and_print(name, mark):
    import builtins as b, json, sys
    def plain(v):
        if v is None or b.isinstance(v, (b.bool, b.int, b.float, b.str)):
            return v
        if b.isinstance(v, b.list):
            return [plain(x) for x in v]
        if b.isinstance(v, b.dict) and b.all(b.isinstance(k, b.str) for k in v):
            return {k: plain(x) for k, x in v.items()}
        if b.hasattr(v, "item") and b.hasattr(v, "dtype") and not v.shape:
            return plain(v.item())
        return {"no value of JSON": b.type(v).__name__}
    space = b.globals()
    owner = space["Solution"]() if "Solution" in space else None
    function = b.getattr(owner, name) if owner is not None else space[name]
    value = function(*[json.loads(line) for line in sys.stdin.read().split("\\n") if line.strip()])
    value = b.list(value) if b.isinstance(value, b.tuple) else value
    text = json.dumps(plain(value))
    sys.__stdout__.write("\\n" + mark + text)
"""


class Judgement(str, Enum):
    """`NOT_RUN`: a test before it failed. `LOST`: the sandbox could not tell."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong answer"
    RUNTIME_ERROR = "runtime error"
    TIME_LIMIT = "time limit"
    MEMORY_LIMIT = "memory limit"
    OUTPUT_LIMIT = "output limit"
    PROCESS_LIMIT = "process limit"
    FILE_LIMIT = "file limit"
    NOT_RUN = "not run"
    LOST = "lost"


class Backend(Protocol):
    """What runs programs: `runner.Sandbox`, or `service.Service`."""

    def run(self, program: str, stdin: str, limits: Limits) -> Run: ...


def judge(solution: str, problem: Problem, backend: Backend) -> list[Judgement]:
    """A verdict for each test, in order; after the first that is not passed none is run."""
    limits = Limits.of(problem.time_limit_s)
    mark = secrets.token_hex(8)
    program = _program(solution, problem.function, mark)
    verdicts = [Judgement.NOT_RUN] * len(problem.inputs)
    for i, (given, expected) in enumerate(zip(problem.inputs, problem.outputs, strict=True)):
        run = backend.run(program, given, limits)
        if run.status is not Status.FINISHED:
            verdicts[i] = Judgement(run.status.value)
        elif problem.function is None:
            verdicts[i] = _verdict(same_output(run.stdout, expected))
        else:
            _, found, value = run.stdout.rpartition("\n" + mark)
            verdicts[i] = _verdict(bool(found) and same_value(value, expected))
        if verdicts[i] is not Judgement.PASSED:
            break
    return verdicts


def same_output(printed: str, expected: str) -> bool:
    """Whether two outputs have the same lines, without the white space around each and around all;
    or lines of numbers that are equal one by one (`1.0` and `1`, no tolerance)."""
    printed, expected = printed.strip(), expected.strip()
    if printed.count("\n") != expected.count("\n"):  # before lists of megabytes are made
        return False
    ours, theirs = ([x.strip() for x in text.split("\n")] for text in (printed, expected))
    return all(a == b or _same_numbers(a, b) for a, b in zip(ours, theirs, strict=True))


def same_value(value: str, expected: str) -> bool:
    """Whether two values in JSON are equal in Python, where 1, 1.0 and true are."""
    try:
        return bool(json.loads(value) == json.loads(expected))
    except (ValueError, RecursionError):
        return False


def _same_numbers(a: str, b: str) -> bool:
    theirs = b.split()
    ours = a.split(maxsplit=len(theirs))  # what is over is one more, whatever its length
    if len(ours) != len(theirs):
        return False
    try:  # a signalling NaN cannot be compared
        return all(Decimal(x) == Decimal(y) for x, y in zip(ours, theirs, strict=True))
    except DecimalException:
        return False


def _program(solution: str, function: str | None, mark: str) -> str:
    first = "".join(f"{line}\n" for line in _FUTURE.findall(solution))
    call = f"{_CALL}\n_call_and_print({function!r}, {mark!r})\n" if function else ""
    before = f"{PRELUDE}\n{_IMPORTED if function else ''}"
    return f"{first}{before}{_FUTURE.sub('', solution)}{call}"


def _verdict(passed: bool) -> Judgement:
    return Judgement.PASSED if passed else Judgement.WRONG_ANSWER
