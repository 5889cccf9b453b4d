"""Verdicts of tests: how outputs are compared, how functions are called, and hostile values."""

import json
import tracemalloc

import pytest

from common.sandbox.judge import Judgement, judge, same_output, same_value
from common.sandbox.problem import Problem, pack
from common.sandbox.runner import Run, Sandbox, Status

pytestmark = pytest.mark.sandbox

PASSED, WRONG, ERROR, NOT_RUN = "passed", "wrong answer", "runtime error", "not run"


@pytest.fixture(scope="module")
def sandbox():
    made = Sandbox(1)
    yield made
    made.close()


def verdicts(solution, gold, sandbox):
    return [verdict.value for verdict in judge(solution, Problem.of(gold), sandbox)]


@pytest.mark.parametrize(
    "printed, expected, same",
    [
        ("1 2\n", "1 2", True),
        ("  1 2  \n3\n\n", "1 2\n3", True),
        ("1.0 2", "1 2.00", True),
        ("1  2", "1 2", True),
        ("a  b", "a b", False),  # as LiveCodeBench has it: only numbers may stand apart
        ("1e3", "1000", True),
        ("0.1", "0.10000001", False),
        ("9007199254740993", "9007199254740992", False),
        ("1\n2", "1 2", False),
        ("1\n\n2", "1\n2", False),
        ("1 2", "1 2 3", False),
        ("1 2 3", "1.0 2", False),
        ("yes", "YES", False),
        ("nan", "NaN", False),
        ("sNaN", "1", False),
        ("", "", True),
        ("9" * 100_000 + "e" + "9" * 20, "1", False),
        ("1_0", "10", True),  # so reads Python's Decimal
    ],
)
def test_outputs_are_compared_as_livecodebench_does(printed, expected, same):
    assert same_output(printed, expected) is same


def test_a_comparison_takes_no_more_room_than_the_outputs():
    lines, numbers = "12\n" * 300_000, "12 " * 300_000
    tracemalloc.start()
    try:
        assert not same_output(lines, "12") and not same_output(numbers, "12 13")
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_values_are_compared_as_json():
    assert same_value("[1, 2.0]", "[1.0, 2]") and same_value("true", "1")
    assert not same_value("[1]", "[[1]]") and not same_value("NaN", "NaN")
    for text in ("[" * 100_000, "9" * 10_000, "nothing", ""):
        assert not same_value(text, "1")


def test_a_stdin_test_after_the_first_failure_is_not_run(sandbox):
    gold = {"inputs": ["1", "2", "3"], "outputs": ["1", "4", "9"]}
    assert verdicts("print(int(input()) ** 2)", gold, sandbox) == [PASSED] * 3
    assert verdicts("print(min(int(input()) ** 2, 4))", gold, sandbox) == [PASSED, PASSED, WRONG]
    assert verdicts("print(1 // (int(input()) - 1))", gold, sandbox) == [ERROR, NOT_RUN, NOT_RUN]
    assert verdicts("print(", gold, sandbox)[0] == ERROR
    gold["time_limit"] = 0.2
    assert verdicts("while True: pass", gold, sandbox)[0] == "time limit"


FUNCTIONS = {
    "class Solution:\n    def add(self, a: List[int], b): return sum(a) + b": PASSED,
    "from __future__ import annotations\ndef add(a: NoSuchType, b): return sum(a) + b": PASSED,
    "def add(a, b):\n    print('noise')\n    return sum(a) + b": PASSED,
    "import numpy as np\ndef add(a, b): return np.int64(sum(a) + b)": PASSED,
    "def add(a, b): return str(sum(a) + b)": WRONG,
    "def add(a, b): return (sum(a) + b,)": WRONG,
    "def add(a, b): return None": WRONG,
    "def add(a, b): return sum(a) + b\nif __name__ == '__main__': add(input(), 1)": PASSED,
    "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\n"
    "class P:\n    x: list\ndef add(a, b): return sum(P(a).x) + b": PASSED,
    "def add(a): return 6": ERROR,
    "def other(a, b): return sum(a) + b": ERROR,
    # in the process of LiveCodeBench's runner this one is right
    "class All:\n    __eq__ = lambda *_: True\ndef add(a, b): return All()": WRONG,
    "import os\ndef add(a, b):\n    print('6', flush=True); os._exit(0)": WRONG,
    "list = str = globals = print = None\ndef add(a, b): return a[0] + a[1] + b": PASSED,
}


@pytest.mark.parametrize("solution", FUNCTIONS)
def test_a_function_is_called_with_the_lines_of_the_input(solution, sandbox):
    gold = {"inputs": ["[1, 2]\n3"], "outputs": ["6"], "fn_name": "add"}
    assert verdicts(solution, gold, sandbox) == [FUNCTIONS[solution]]


@pytest.mark.parametrize(
    "value, expected, verdict",
    [
        ("(1, [2])", "[1, [2]]", PASSED),  # a tuple is taken for a list, but not in a list
        ("[(1, 2)]", "[[1, 2]]", WRONG),
        ("{1, 2}", "[1, 2]", WRONG),
        ("{1: 2}", '{"1": 2}', WRONG),
        ("{'a': [True, None]}", '{"a": [true, null]}', PASSED),
        ("0.1 + 0.2", "0.3", WRONG),
    ],
)
def test_a_value_is_right_when_python_finds_it_equal(value, expected, verdict, sandbox):
    gold = {"inputs": ["0"], "outputs": [expected], "fn_name": "f"}
    assert verdicts(f"def f(x): return {value}", gold, sandbox) == [verdict]


def test_a_program_never_sees_what_is_expected():
    seen = []

    class Spy:
        def run(self, program, stdin, limits):
            seen.append(program + stdin)
            return Run(Status.FINISHED, "", "", 0.0)

    judge("x", Problem.of({"inputs": ["given"], "outputs": ["secret"]}), Spy())
    judge("x", Problem.of({"inputs": ["1"], "outputs": ['"secret"'], "fn_name": "f"}), Spy())
    assert len(seen) == 2 and "given" in seen[0] and not any("secret" in text for text in seen)


def test_a_gold_may_be_json_or_packed():
    gold = {"inputs": ["é"], "outputs": ["1"], "fn_name": "f", "time_limit": 2}
    made = Problem.of(gold)
    assert made == Problem(("é",), ("1",), "f", 2.0)
    assert made == Problem.of(json.dumps(gold)) == Problem.of(json.dumps(pack(gold)))
    assert len(pack(gold | {"inputs": ["a" * 10**6]})["packed"]) < 10_000


@pytest.mark.parametrize(
    "gold, what",
    [
        (None, "a mapping"),
        ("[", "no JSON"),
        ({"inputs": ["1"]}, "outputs: a list of texts"),
        ({"inputs": [], "outputs": []}, "inputs: a list of texts"),
        ({"inputs": ["1", "2"], "outputs": ["1"]}, "2 inputs, 1 outputs"),
        ({"inputs": [1], "outputs": ["1"]}, "inputs: a list of texts"),
        ({"inputs": ["1"], "outputs": ["x"], "fn_name": "f"}, "'x' is no JSON"),
        ({"inputs": ["1"], "outputs": ["1"], "fn_name": "f()"}, "fn_name"),
        ({"inputs": ["1"], "outputs": ["1"], "time_limit": 0.0001e9}, "time_limit"),
        ({"inputs": ["1"], "outputs": ["1"], "more": 1}, "unknown key 'more'"),
        ({"packed": "?"}, "packed"),
    ],
)
def test_a_gold_that_is_wrong_is_named(gold, what):
    with pytest.raises(ValueError, match=f"^gold: .*{what}|^gold: {what}"):
        Problem.of(gold)


def test_every_end_of_a_run_but_its_finish_is_a_verdict():
    ends = {status.value for status in Status} - {"finished"}
    assert ends == {verdict.value for verdict in Judgement} - {PASSED, WRONG, NOT_RUN}
