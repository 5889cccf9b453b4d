"""What updates earn: two arms of one reward curve, of which one trains on a quarter."""

from pathlib import Path

import pytest

from common.analysis.gain import analyse
from common.analysis.runs import Run, Selection

STEPS = 20
REWARDS = [float(step) for step in range(STEPS)]


def run(arm, kept, seconds, critic=None, seed=1):
    metrics = {
        "group/score": [None, *REWARDS],  # step 0 is a validation
        "group/samples": [None, *[256] * STEPS],
        "group/kept": [None, *[kept] * STEPS],
        "timing_s/update_actor": [None, *[seconds] * STEPS],
    }
    if critic:
        metrics["timing_s/update_critic"] = [None, *[critic] * STEPS]
    curves = {"steps": list(range(STEPS + 1)), "metrics": metrics}
    return Run(arm, seed, Path(), "", {"curves": curves})


def test_of_several_seeds_each_has_a_line_to_compare_with():
    runs = [run("ppo", 0.25, 1.0), run("ppo", 0.25, 3.0, seed=2), run("all16", 1.0, 6.0)]
    found = analyse(Selection("demo", "micro", runs, Path()))
    lines = [line[:2] + line[3:4] for line in found.tables[0].lines]
    assert [line[1] for line in lines] == ["2 (1, 2)", "1", "2", "1 (1)"]
    assert [line[2] for line in lines[1:]] == ["20", "60", "120"]
    assert found.values["ppo"]["seeds"]["2"]["seconds"] == 60


def test_the_same_gain_at_a_quarter_of_the_cost():
    tuned = Run("sft", 1, Path(), "", {"curves": {"steps": [1], "metrics": {"train/loss": [1.0]}}})
    runs = [run("ppo", 0.25, 1.0, 0.5), run("all16", 1.0, 6.0), tuned]
    found = analyse(Selection("demo", "micro", runs, Path()))
    assert [line[0] for line in found.tables[0].lines] == ["ppo", "all16"]  # SFT draws none
    ppo, whole = ({k: v["value"] for k, v in found.values[a].items()} for a in ("ppo", "all16"))
    assert ppo["gain"] == whole["gain"] == 15 - 4  # means of the last and the first nine
    assert (ppo["seconds"], whole["seconds"]) == (30, 120)
    assert (ppo["drawn"], ppo["trained"], whole["trained"]) == (5120, 1280, 5120)
    assert ppo["by_minute"] == pytest.approx(4 * whole["by_minute"]) == 22
    assert ppo["by_trained"] == pytest.approx(4 * whole["by_trained"])
    assert ppo["by_drawn"] == whole["by_drawn"] == pytest.approx(11 / 5.12)


def test_a_run_that_is_too_short():
    with pytest.raises(ValueError, match="in 18 steps or more"):
        analyse(
            Selection(
                "demo", "micro", [Run("a", 1, Path(), "", {"curves": {"metrics": {}}})], Path()
            )
        )
