"""LiveCodeBench and CodeForces as `sources.yaml` reads them, from made-up rows."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from common.sandbox.problem import Problem
from data import sources
from data.from_sources import build
from data.parquet import PROMPT_COLUMNS, read_parquet

KEYS = ("ability", "grader", "fields", "where")
STDIN = [{"input": "1\n", "output": "2\n", "testtype": "stdin"}]
CALL = [{"input": "[1]", "output": "2", "testtype": "functional"}]


@pytest.fixture
def built(declare, tmp_path, monkeypatch):
    """The rows of a test file that is built from made-up rows of a set."""
    real = yaml.safe_load(sources.FILE.read_text())

    def make(name, file, rows):
        monkeypatch.setenv("DATA_MIRROR", str(tmp_path))
        keys = {key: real[name][key] for key in KEYS if key in real[name]}
        declare([{"at": "mirror", "files": [{"mirror": file}]}], rows=rows, **keys)
        monkeypatch.setenv("DATA_MIRROR", str(tmp_path))
        part = [{"source": "sums", "template": name}]
        build(tmp_path / "out", 1, template="plain", train=part, tests={"test": part})
        return read_parquet(tmp_path / "out/test.parquet", PROMPT_COLUMNS)

    return make


def test_livecodebench_keeps_the_window_and_both_kinds_of_tests(built, tmp_path):
    row = {"question_id": "a", "difficulty": "easy", "private_test_cases": "[]", "metadata": "{}"}
    lines = [
        row
        | {"contest_date": f"{date}T00:00:00", "question_content": date}
        | {"starter_code": starter, "public_test_cases": json.dumps(tests)}
        | {"metadata": json.dumps({"func_name": "f"})}
        for date, starter, tests in (
            ("2024-09-30", "", STDIN),
            ("2024-10-01", "", STDIN),
            ("2025-02-28", "class Solution:", CALL),
            ("2025-03-01", "", STDIN),
        )
    ]
    (tmp_path / "lcb.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, second = built("livecodebench", "lcb.jsonl", 4)
    asked = [row["prompt"][-1]["content"] for row in (first, second)]
    assert "2024-10-01" in asked[0] and "# YOUR CODE HERE" in asked[0]
    assert "2025-02-28" in asked[1] and "```python\nclass Solution:\n```" in asked[1]
    golds = [Problem.of(row["reward_model"]["ground_truth"]) for row in (first, second)]
    assert golds == [Problem(("1\n",), ("2\n",)), Problem(("[1]",), ("2",), "f")]
    assert first["extra_info"]["date"] == "2024-10-01T00:00:00" and first["ability"] == "code"


def test_codeforces_keeps_rated_problems_that_tests_decide(built, tmp_path):
    row = {
        "title": "T",
        "description": "D",
        "input_format": "I",
        "output_format": "O",
        "note": None,
        "interaction_format": None,
    }
    row |= {"official_tests": [{"input": "1", "output": "2"}], "official_tests_complete": True}
    row |= {"generated_checker": None, "input_mode": "stdio", "rating": 1500, "time_limit": 2.0}
    rows = [
        row | {"id": "1/A"},
        row | {"id": "1/B", "rating": None},
        row | {"id": "1/C", "generated_checker": "print(1)"},
        row | {"id": "1/D", "interaction_format": "Print a query."},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "cf.parquet")
    (only,) = built("codeforces", "cf.parquet", 4)
    assert only["extra_info"]["rating"] == 1500 and only["extra_info"]["id"] == "1/A"
    assert "T\n\nD" in only["prompt"][-1]["content"]
    assert Problem.of(only["reward_model"]["ground_truth"]).time_limit_s == 6.0
