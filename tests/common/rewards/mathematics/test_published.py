"""Published verdicts on real outputs: every difference is known and judged by hand."""

import json

import pytest
import yaml

from common.config import ROOT
from common.rewards.mathematics import fast, fast_equiv
from common.rewards.mathematics.extract import held, last_box
from common.rewards.verdict import Outcome

SHARED = ROOT.parent / "shared"
JUDGED = yaml.safe_load((ROOT / "results" / "graders_judged.yaml").read_text())
FILES = {
    "math_prime_eval_outputs": (fast, 0.96),
    "math_qwen25_rm_maj_example": (fast, 0.995),
    "math_primerl_example_rewards": (fast, 0.995),
    "math_equiv_math_verify_tests": (fast_equiv, 0.95),
    "math_equiv_lighteval_tests": (fast_equiv, 0.94),
    "math_equiv_hendrycks_is_equiv_tests": (fast_equiv, 0.85),
}


def rows(path):
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("stem", FILES)
def test_differences_from_published_verdicts_are_the_judged_ones(stem):
    grade, least = FILES[stem]
    cases = rows(SHARED / "grader_cases" / f"{stem}.jsonl")
    different, left_open = set(), 0
    for case in cases:
        verdict = grade(case if "response" in case else case | {"response": case["prediction"]})
        if verdict is None:
            left_open += 1
        elif (verdict.outcome is Outcome.CORRECT) != bool(case["expected"]):
            different.add(case["id"])
    assert different <= set(JUDGED.get(stem, {}))
    assert len(different) <= (1 - least) * len(cases)
    assert left_open <= 0.05 * len(cases)


def golds():
    data = SHARED / "data"
    yield from (r["answer_boxed"] for r in rows(data / "math/test.jsonl"))
    yield from (", ".join(r["final_answer"]) for r in rows(data / "olympiadbench/test.jsonl"))
    yield from (
        held(r["solution"], last_box(r["solution"])) for r in rows(data / "minerva_math/test.jsonl")
    )
    for name in ("math500", "college_math", "gaokao2023en", "aime24", "aime25", "amc23"):
        yield from (r["answer"] for r in rows(data / name / "test.jsonl"))


def test_every_gold_answers_itself():
    seen = 0
    for gold in golds():
        if gold == "":
            continue
        text = str(gold) if not isinstance(gold, float) else str(int(gold))
        verdict = fast({"gold": gold, "response": f"It is $\\boxed{{{text}}}$."})
        assert verdict is not None and verdict.outcome is Outcome.CORRECT, gold
        seen += 1
    assert seen > 9000
