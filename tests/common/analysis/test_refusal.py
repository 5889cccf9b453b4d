"""TP, FP, TN and FN of the Qwen3-RL post's own table, and what is refused."""

from pathlib import Path

import pytest

from common.analysis.refusal import analyse
from common.analysis.runs import Run, Selection

TABLE = {"": (238, 66, 217, 20), "@base": (196, 86, 197, 62)}  # PPO and before, of Qwen3-4B


def counts(right, wrong):
    total = right + wrong
    c = [1] * right + [0] * wrong
    return {"id": [str(i) for i in range(total)], "n": [1] * total, "c": c}


def selection(problems):
    runs = [Run("ppo", 1, Path(), "", {"problems": problems})]
    return Selection("demo", "node8", runs, Path())


def test_the_posts_table():
    problems = {}
    for suffix, (tp, fp, tn, fn) in TABLE.items():
        problems[f"kbqa, answerable{suffix}"] = counts(tp, fn)
        problems[f"kbqa, unanswerable{suffix}"] = counts(tn, fp)
    found = analyse(selection(problems | {"other": counts(1, 1)}))
    before, ppo = found.tables[0].lines
    assert before[:6] == ["kbqa", "before RL", "196", "86", "197", "62"]
    assert ppo[:6] == ["kbqa", "ppo", "238", "66", "217", "20"]
    rates = found.values["kbqa"]["ppo"]["rates"]
    assert rates["recall"]["value"] == pytest.approx(0.922, abs=5e-4)
    assert rates["refusal"]["value"] == pytest.approx(0.767, abs=5e-4)
    low, high = rates["balanced"]["interval"]
    assert low < (0.922 + 0.767) / 2 < high < 0.88


def test_a_recipe_without_such_questions():
    with pytest.raises(ValueError, match="no benchmark has parts called"):
        analyse(selection({"kbqa, answerable": counts(1, 1)}))
