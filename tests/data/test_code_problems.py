"""Generated code problems: their texts as solutions are right where they say so, and wrong."""

import random

import pyarrow.parquet as pq
import pytest

from common.sandbox.judge import Judgement, judge
from common.sandbox.problem import Problem
from common.sandbox.runner import Sandbox
from data.code_problems import KINDS, build, draw, draw_numbers
from data.code_problems import Problem as Asked


@pytest.fixture(scope="module")
def sandbox():
    made = Sandbox(1)
    yield made
    made.close()


@pytest.mark.sandbox
@pytest.mark.parametrize("kind", range(len(KINDS)))
@pytest.mark.parametrize("function", [False, True])
def test_solutions_are_right_and_wrong_ones_fail_at_once(kind, function, sandbox):
    asked = Asked(kind, 3, function)
    problem = Problem.of(asked.tests(4))
    assert judge(asked.solution(), problem, sandbox) == [Judgement.PASSED] * 4
    first, *rest = judge(asked.solution(right=False), problem, sandbox)
    assert first is Judgement.WRONG_ANSWER and set(rest) == {Judgement.NOT_RUN}


def test_files_hold_different_problems_of_both_types(tmp_path):
    sizes = {"train": 20, "validation": 4, "test": 10, "sft": 5, "tests_each": 2}
    build(tmp_path, 1, template="codeforces", **sizes)
    build(tmp_path / "again", 2, template="codeforces", **sizes)
    rows = {
        name: pq.read_table(tmp_path / f"{name}.parquet").to_pylist()
        for name in sizes
        if name != "tests_each"
    }
    assert {name: len(found) for name, found in rows.items()} | {"tests_each": 2} == sizes
    prompts = [str(r["prompt"]) for name in ("train", "validation", "test") for r in rows[name]]
    assert len(set(prompts)) == 34
    golds = [r["reward_model"]["ground_truth"] for r in rows["train"]]
    assert 0 < sum("fn_name" in gold for gold in golds) < 20
    assert all(r["extra_info"]["rating"] >= 800 for r in rows["test"])
    assert rows["sft"][0]["messages"][-1]["content"].startswith("```python")
    again = [pq.read_table(tmp_path / f"{p}train.parquet") for p in ("", "again/")]
    assert again[0] != again[1]
    assert pq.read_table(tmp_path / "again/test.parquet") == pq.read_table(
        tmp_path / "test.parquet"
    )


def test_draws_are_bounded():
    rng = random.Random(1)
    assert all(3 <= len(draw_numbers(rng)) <= 12 and 2 <= draw(rng).k <= 9 for _ in range(200))
