"""Verdicts on solutions by hand of 20 published problems, through data, extraction and sandbox."""

from dataclasses import replace

import pytest

from common.config import ROOT
from common.rewards.code import extract
from common.sandbox.judge import judge
from common.sandbox.problem import Problem
from common.sandbox.runner import Sandbox
from data import store
from tests.common.sandbox.codeforces_solutions import SOLUTIONS

pytestmark = pytest.mark.sandbox

MIRROR = ROOT.parent / "shared" / "data"
LIMIT_S = 0.6  # for solutions that take far less, or would take minutes


@pytest.fixture(scope="module")
def sandbox():
    made = Sandbox(1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    if not MIRROR.is_dir():
        pytest.skip("the shared data sets are not on this machine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_MIRROR", str(MIRROR))
        patch.setattr(store, "STORE", tmp_path_factory.mktemp("store"))
        rows = store.rows("codeforces_rllm")
    assert len(rows) == 408
    return [replace(Problem.of(row["answer"]), time_limit_s=LIMIT_S) for row in rows]


@pytest.mark.parametrize("number", SOLUTIONS)
def test_a_right_solution_passes_and_a_wrong_one_ends_as_it_must(number, problems, sandbox):
    right, wrong, verdict = SOLUTIONS[number]
    problem = problems[number]
    found = judge(extract(f"So:\n```python\n{right}\n```"), problem, sandbox)
    assert [v.value for v in found] == ["passed"] * len(problem.inputs)
    found = [
        v.value for v in judge(wrong, problem, sandbox) if v.value not in ("passed", "not run")
    ]
    assert found == [verdict]
