"""Readers of published columns: what they read, and what they refuse."""

import base64
import json
import os
import pickle
import zlib

import pytest

from common.sandbox.problem import Problem
from data.answers import codeforces, columns_of, reader, statement


@pytest.mark.parametrize(
    ("spec", "row", "value"),
    [
        ("a | hashes", {"a": "3*4=<<3*4=12>>12\n#### 1,200"}, "1,200"),
        ("a | boxed", {"a": "\\boxed{1} then \\boxed{\\frac{1}{2}}."}, "\\frac{1}{2}"),
        ("a | boxed", {"a": "so \\fbox{C}"}, "C"),
        ("a | boxed", {"a": "we get $\\boxed 7$."}, "7"),
        ("a | boxed", {"a": "nothing: \\boxed{}"}, ""),
        ("a | integer", {"a": 27.0}, "27"),
        ("a | integer", {"a": "073"}, "73"),
        ("a | integer", {"a": -4}, "-4"),
        ("a | integer", {"a": "336^\\circ"}, "336"),
        ("a | integer", {"a": "$336^{\\circ}$"}, "336"),
        ("a | first_integer", {"a": "080 or 081 (both were accepted)"}, "80"),
        ("a | first", {"a": ["$2n-2$"]}, "$2n-2$"),
        ("a | level", {"a": "Level 3"}, 3),
        ("a | level", {"a": "Level ?"}, None),
        ("n s | roles", {"n": ["A", "B"], "s": [True, False]}, {"A": "knight", "B": "knave"}),
        ("n | count", {"n": ["A", "B"]}, 2),
        ("n t | text", {"n": [1, 2], "t": 3}, "[1, 2] 3"),
        ("a | json", {"a": ["是", ["x"]]}, '["是", ["x"]]'),
        (
            "a | code_format",
            {"a": "class Solution:\n    def f(self):\n        "},
            "You will use the following starter code to write the solution to the problem and "
            "enclose your code within delimiters.\n```python\nclass Solution:\n    def f(self):\n"
            "        \n```",
        ),
        (
            "a | sample_tests",
            {"a": [{"input": "1", "output": "2"}]},
            {"inputs": ["1"], "outputs": ["2"]},
        ),
        ("p.0.content", {"p": [{"content": "hi"}]}, "hi"),
        ({"numbers": "n", "target": "t"}, {"n": [1], "t": 2}, {"numbers": [1], "target": 2}),
        (
            "p | dapo",
            {"p": "Solve. answer of the problem.\n\nX?\n\nRemember to put your answer"},
            "X?",
        ),
        ("p | dapo", {"p": "X?"}, "X?"),
    ],
)
def test_values(spec, row, value):
    assert reader(spec)(row) == value
    assert columns_of(spec) <= set(row)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ("hashes", "no answer"),
        ("hashes", "#### "),
        ("boxed", "\\boxed{1"),
        ("boxed", "1"),
        ("integer", 2.5),
        ("integer", "27.5"),
        ("integer", "x"),
        ("integer", "\u0663"),
        ("first", ["a", "b"]),
        ("first", []),
    ],
)
def test_what_cannot_be_read_is_refused(spec, value):
    with pytest.raises(ValueError):
        reader(f"a | {spec}")({"a": value})


def test_an_unknown_reader_is_named():
    with pytest.raises(ValueError, match="no reader 'hash'; there is hashes"):
        reader("a | hash")


def test_boxes_of_all_math_solutions(shared):
    for split in ("train", "test"):
        for line in (shared / f"math/{split}.jsonl").open():
            row = json.loads(line)
            assert reader("solution | boxed")(row) == row["answer_boxed"]


TESTS = [{"input": "1\n", "output": "2\n", "testtype": "stdin"}]


def pickled(value):
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


@pytest.mark.parametrize("private", [json.dumps(TESTS), pickled(json.dumps(TESTS * 2))])
def test_livecodebenchs_tests_are_read_without_running_a_pickle(private):
    read = reader("a b c | livecodebench")
    found = Problem.of(read({"a": json.dumps(TESTS), "b": private, "c": "{}"}))
    assert found.inputs[0] == "1\n" and set(found.outputs) == {"2\n"} and found.function is None
    assert len(found.inputs) == (2 if private.startswith("[") else 3)
    call = [{"input": "[1]\n2", "output": "3", "testtype": "functional"}]
    row = {"a": json.dumps(call), "b": "[]", "c": '{"func_name": "add"}'}
    assert Problem.of(read(row)) == Problem(("[1]\n2",), ("3",), "add")


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize("value", [Hostile(), ["a", "b"], {"a": 1}, 3])
def test_a_pickle_of_anything_but_a_text_is_refused(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read = reader("a b c | livecodebench")
    with pytest.raises(ValueError, match="a pickle"):
        read({"a": json.dumps(TESTS), "b": pickled(value), "c": "{}"})
    assert not list(tmp_path.iterdir())


def test_only_a_codeforces_problem_that_its_tests_decide_has_an_answer():
    tests = [{"input": "1", "output": "2"}]
    found = Problem.of(codeforces(tests, True, None, "stdio", None, 1500, 2.0))
    assert (found.inputs, found.outputs, found.time_limit_s) == (("1",), ("2",), 6.0)
    for cut in (
        (None, True, None, "stdio", None, 1500, 2.0),
        (tests, False, None, "stdio", None, 1500, 2.0),
        (tests, True, "def check(): ...", "stdio", None, 1500, 2.0),
        (tests, True, None, "file", None, 1500, 2.0),
        (tests, True, None, "stdio", "Ask with ?", 1500, 2.0),
        (tests, True, None, "stdio", None, None, 2.0),
    ):
        assert codeforces(*cut) is None
    unlimited = codeforces(tests, True, None, "stdio", None, 1500, None)
    assert Problem.of(unlimited).time_limit_s == 6.0
    assert "Time limit" not in statement("Sums", "Add.", "", "", None, None)


def test_a_codeforces_statement_has_all_its_parts():
    text = statement("Sums", "Add.", "Two numbers.", "Their sum.", None, 2.0)
    assert text.startswith("Sums\n\nAdd.") and text.endswith("Time limit: 2.0 s")
    assert "Input\n\nTwo numbers." in text and "Note" not in text
