"""Habits over training beside the published curves, slopes within problems, and two counters."""

import json

import numpy as np
import pytest

from common.analysis import habit_counts, habits, mediation
from common.analysis.runs import select
from common.habits import HABITS
from common.results.record import compute_metrics
from common.runs import write_json
from data.parquet import prompt_row, write_parquet

HEAD = "scale,variant,step,verification,backtracking,subgoal,backward,accuracy,length,source"


@pytest.fixture
def counted(recipe, make_record):
    """`recipe` whose records log habits and whose responses are of Countdown."""
    for arm in ("nsr", "psr"):
        for seed in (1, 2):
            path = recipe.results / "demo/micro" / f"{arm}-seed{seed}.json"
            old = json.loads(path.read_text())
            metrics = {f"group/{h}": [float(i + seed) for i in range(30)] for h in HABITS}
            metrics |= {"group/solved": [0.5] * 30, "response_length/mean": [20.0] * 30}
            curves = {"steps": list(range(1, 31)), "metrics": metrics}
            problems = old["problems"]
            record = make_record(
                arm, seed, problems=problems, metrics=compute_metrics(problems), curves=curves
            )
            write_json(path, record)
            place = recipe.runs / "demo/micro" / arm / f"seed{seed}"
            data = place / "gold.parquet"
            gold = {"numbers": [3, 4], "target": 12}
            write_parquet(data, [prompt_row("d", "?", gold, "test", i) for i in range(30)])
            for stage in ("evaluate", "evaluate_base"):
                write_json(
                    place / stage / "spec.json", {"benchmarks": {"test": {"file": str(data)}}}
                )
    return recipe


def test_our_curves_and_the_papers(counted):
    (selection,) = select(counted.name, [], responses=False)
    found = habits.analyse(selection)
    row = found.values["nsr"]["backtracking"]
    # first tenth of 30 steps: means of 0, 1, 2 plus the seed; 27 steps later at the end
    assert row["first"]["value"] == 2.5 and row["last"]["value"] == 29.5
    assert row["change"]["value"] == 27 and row["published"] == []
    rows = [
        "node8,nsr,0,1,2,3,4,0.1,100,x",
        "node8,nsr,250,5,6,7,8,0.9,90,x",
        "other,nsr,0,0,0,0,0,0,0,x",
        "other,psr,0,9,9,9,9,0,0,x",
    ]
    (counted.folder / habits.FILE).write_text("\n".join([HEAD, *rows]) + "\n")
    found = habits.analyse(selection)
    assert found.values["nsr"]["backtracking"]["published"] == [2.0, 6.0]
    assert found.values["psr"]["verification"]["published"] == [9.0, 9.0]
    assert habits.published(counted.folder / habits.FILE, "other")["nsr"].values["accuracy"] == [
        0.0
    ]
    (counted.folder / habits.FILE).write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="columns"):
        habits.analyse(selection)


def test_a_run_that_logged_no_habit_is_named(recipe):
    (selection,) = select(recipe.name, [], responses=False)
    for run in selection.runs:
        del run.record["curves"]["metrics"]["group/subgoal"]
    with pytest.raises(ValueError, match="no run logged a habit"):
        habits.analyse(selection)


def test_slopes_by_hand():
    """Problem a: counts 0 and 2, right 0 and 1, slope 1/2; problem b: count 1 twice, right once.
    Means: counts 1 and 1, so that nothing varies between problems."""
    found = mediation.slopes(np.array([0.0, 2, 1, 1]), [0, 1, 1, 0], ["a", "a", "b", "b"])
    assert found["between"] is None and found["within"].value == 0.5
    found = mediation.slopes(np.array([0.0, 0, 2, 2]), [1, 1, 0, 0], ["a", "a", "b", "b"])
    assert found["within"] is None and found["between"].value == -0.5


def test_difficulty_alone_shows_between_problems_and_not_within_them():
    rng = np.random.default_rng(1)
    ease_P = rng.uniform(0.1, 0.9, 300)
    problem = np.repeat(np.arange(300), 8)
    right = (rng.random(2400) < ease_P[problem]).astype(float)
    counts = rng.poisson(4 * (1 - ease_P[problem])).astype(float)
    found = mediation.slopes(counts, right, [str(p) for p in problem])
    assert found["between"].interval[1] < 0
    low, high = found["within"].interval
    assert low < 0 < high


def test_agreement_by_hand():
    found = mediation.agreement([0, 1, 2, 0], [0, 1, 1, 1])
    assert (found.equal.value, found.presence.value) == (0.5, 0.75)
    # presence 2/4 and 3/4: by chance 1/2 * 3/4 + 1/2 * 1/4 = 1/2
    assert found.kappa == pytest.approx((0.75 - 0.5) / 0.5)
    assert mediation.agreement([1, 1], [1, 0]).kappa is None
    with pytest.raises(ValueError, match="counted by both"):
        mediation.agreement([], [])


class Model:
    """Counts one of each habit in every text."""

    def __init__(self):
        self.asked = []

    def answers(self, asked):
        from common.habits.chat import Answer

        self.asked += asked
        return [Answer("<count>1</count>", "stop", 0, 0)] * len(asked)


def test_the_classifier_and_the_rules_meet_in_one_table(counted):
    validation = counted.runs / "demo/micro/nsr/seed1/train/validation"
    validation.mkdir(parents=True)
    line = {"output": "3 * 4 = 12", "gts": json.dumps({"numbers": [3, 4], "target": 12})}
    (validation / "10.jsonl").write_text(json.dumps(line) + "\n")
    model = Model()
    habit_counts.classify_runs(model, counted.name, ["variant=nsr", "seed=1"], 20)
    assert len(model.asked) == 4 * (20 + 20 + 1)
    assert "[3, 4]" in model.asked[0][-1]["content"]
    (selection,) = select(counted.name, ["variant=nsr", "seed=1"], responses=True)
    found = mediation.analyse(selection)
    agreed = found.values["agreement"]["test: nsr"]["subgoal"]
    assert agreed["n"] == 20 and agreed["mean_model"] == 1 and agreed["mean_rules"] == 0
    assert found.values["steps"]["nsr"]["10"]["backward"]["value"] == 1
    assert set(found.values["slopes"]["test: nsr"]) == set(HABITS)
