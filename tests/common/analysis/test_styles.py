"""Length and style over the steps: ends, extremes, and arms that log none."""

from pathlib import Path

import pytest

from common.analysis.runs import Run, Selection
from common.analysis.styles import analyse, windows


def select(**curves):
    """One run for each name and list of curves of the response length."""
    runs = [
        Run(
            arm,
            seed,
            Path("nowhere"),
            "make",
            {
                "curves": {
                    "steps": list(range(1, len(curve) + 1)),
                    "metrics": {"response_length/mean": curve},
                }
            },
        )
        for arm, seeds in curves.items()
        for seed, curve in enumerate(seeds)
    ]
    return Selection("demo", "micro", runs, Path("nowhere"))


def test_a_window_is_a_mean_of_five_steps():
    assert windows([1.0, 2, 3, 4, 5, 11]).tolist() == pytest.approx([3, 5])
    assert windows([2.0, 4]).tolist() == pytest.approx([3])


def test_a_fall_and_a_rise_are_found_where_they_are():
    valley = [10.0] * 5 + [4.0] * 5 + [8.0] * 5
    higher = [value + 2 for value in valley]
    made = analyse(select(zero=[valley, higher], other=[valley]))
    found = made.values["response_length/mean"]["zero"]
    assert found["first"]["value"] == 11 and found["last"]["value"] == 9
    assert found["lowest"] == [5, 10] and found["highest"] == [11, 5]
    assert found["first"]["over"] == "seeds" and found["seeds"] == 2
    one = made.values["response_length/mean"]["other"]
    assert one["first"]["over"] == "steps" and one["lowest"] == [4, 10]
    assert len(made.tables[0].lines) == 2


def test_without_a_curve_there_is_nothing_to_show():
    with pytest.raises(ValueError, match="logs a style"):
        analyse(select(zero=[[]]))
