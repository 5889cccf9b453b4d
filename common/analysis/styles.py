"""Length and style of the sampled responses over training: code, words of reflection, the box.

SimpleRL (hkust-nlp/simpleRL-reason, January 2025) sees the length fall first, while RL takes away
the base's habit of writing code, and rise later, with reflection from about step 40 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from common.analysis.report import Analysis, Table, figure, interval_text, legend
from common.analysis.runs import Run, Selection
from common.results import plots
from common.results.rows import Estimate
from common.results.statistics import curve_interval, seed_interval

METRICS = {
    "response_length/mean": "response length (tokens)",
    "group/code": "share with code",
    "group/reflection": "share with a word of reflection",
    "group/format": "share with a box",
    "group/correct": "share correct",
}
WINDOW = 5  # steps
NOTES = [
    "Over all responses sampled for training; what counts as code or reflection is in the recipe's "
    "task.py.",
    f"first, last: mean over the first and the last {WINDOW} steps. lowest, highest: of the mean "
    f"over {WINDOW} consecutive steps, with the last of these steps, in the mean over seeds.",
    "Intervals: 95 %, Student's t over seeds; with one seed moving-block bootstrap over the steps.",
]


def windows(curve: Sequence[float]) -> np.ndarray:
    """Means over `WINDOW` consecutive values, the first of the first `WINDOW`."""
    width = min(WINDOW, len(curve))
    return np.convolve(curve, np.ones(width) / width, mode="valid")


def end(curves: Sequence[Sequence[float]], part: slice) -> Estimate:
    """Mean of a part of one curve a seed."""
    pieces = [curve[part] for curve in curves]
    values = [float(np.mean(piece)) for piece in pieces]
    if len(values) > 1:
        return Estimate(float(np.mean(values)), seed_interval(values), "seeds")
    return Estimate(values[0], curve_interval(pieces[0]), "steps")


def logged(runs: Sequence[Run], metric: str) -> list[list[float]]:
    """The curve of each run that has one, without the steps on which it was not logged."""
    found = []
    for run in runs:
        assert run.record is not None
        curve = run.record["curves"]["metrics"].get(metric, [])
        values = [value for value in curve if value is not None]
        if values:
            found.append(values)
    return found


def analyse(selection: Selection) -> Analysis:
    """The table, the figure and the JSON, from the records.

    Raises: ValueError when no run has logged any of `METRICS`.
    """
    lines: list[list[str]] = []
    values: dict[str, Any] = {}
    for metric, name in METRICS.items():
        for arm, runs in selection.arms.items():
            curves = logged(runs, metric)
            if not curves:
                continue
            steps = min(map(len, curves))
            smooth = np.mean([windows(curve[:steps]) for curve in curves], axis=0)
            low, high = int(smooth.argmin()), int(smooth.argmax())
            first, last = end(curves, slice(WINDOW)), end(curves, slice(-WINDOW, None))
            before = steps - len(smooth) + 1  # the step of the first window's end
            extremes = [f"{smooth[i]:.4g} (step {i + before})" for i in (low, high)]
            lines.append([name, arm, interval_text(first), *extremes, interval_text(last)])
            values.setdefault(metric, {})[arm] = {
                "seeds": len(curves),
                "first": asdict(first),
                "last": asdict(last),
                "lowest": [float(smooth[low]), low + before],
                "highest": [float(smooth[high]), high + before],
            }
    if not lines:
        raise ValueError(f"{selection.recipe} at {selection.scale}: no run logs a style")
    title = f"length and style over training, {selection.recipe} at {selection.scale}"
    head = "metric | arm | first (95 % CI) | lowest | highest | last (95 % CI)"
    table = Table("over the steps", head, lines)
    return Analysis("styles", title, [table], NOTES, values, draw(selection, list(values), title))


def draw(selection: Selection, metrics: Sequence[str], title: str) -> Figure:
    """One panel for each metric: mean over seeds, band from lowest to highest."""
    arms = {
        arm: [run.record["curves"] for run in runs if run.record]
        for arm, runs in selection.arms.items()
    }
    made, grid = figure(1, len(metrics), title)
    for axes, metric in zip(grid[0], metrics, strict=True):
        plots.panel(axes, arms, metric, logarithmic=False)
        axes.set_title(METRICS[metric], fontsize=10)
    legend(made, arms)
    return made
