"""The four habits, accuracy and response length over training, beside the published curves.

Ours are the rule counts of training's own responses (`group/<habit>`, common/habits/rules.py); the
published ones, of `published_curves.csv` in the recipe's folder, are a language model's counts on
validation responses. Gandhi et al. 2025 (arXiv 2503.01307).
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from common.analysis.bootstrap import over_seeds
from common.analysis.entropy import tenths
from common.analysis.report import Analysis, Table, figure, interval_text
from common.analysis.runs import Selection
from common.habits import HABITS
from common.results.plots import COLOURS, style
from common.results.statistics import UNBOUNDED

FILE = "published_curves.csv"
METRICS = {  # column of the published file: ours
    **{habit: f"group/{habit}" for habit in HABITS},
    "accuracy": "group/solved",
    "length": "response_length/mean",
}
SETTING = "node8"  # the published curves that a scale without its own is drawn with
Dash = Literal["-", "--", "-.", ":"]
# ours and published; then for arms that repeat a colour
DASHES: tuple[tuple[Dash, Dash], ...] = (("-", "--"), ("-.", ":"))
NOTES = [
    "Counts are means over the responses of a training step, by rules. The paper's are by a "
    "language model, of responses to validation problems: compare directions, not heights.",
    "first and last tenth: means over those logged steps; the interval is over seeds.",
    "In the figure steps are shares of the run, since ours and the paper's differ in number; "
    "dashed and dotted pale lines are published. Lengths are in tokens of the respective model.",
]


@dataclass(frozen=True)
class Published:
    """One published curve: steps and, by column, values."""

    steps: list[int]
    values: dict[str, list[float]]


def published(path: Path, scale: str) -> dict[str, Published]:
    """Curves by variant: those of the scale, else of `SETTING`, else of any; empty without a file.

    Raises: ValueError for a file with other columns, or a cell that is no number.
    """
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        wanted = {"scale", "variant", "step", *METRICS, "source"}
        if set(reader.fieldnames or ()) != wanted:
            raise ValueError(f"{path.name}: columns {reader.fieldnames}; write {sorted(wanted)}")
        rows = list(reader)
    places = list(dict.fromkeys([scale, SETTING, *sorted(row["scale"] for row in rows)]))
    taken: dict[str, str] = {}  # variant: the scale that comes first of those with its curve
    for row in sorted(rows, key=lambda row: places.index(row["scale"])):
        taken.setdefault(row["variant"], row["scale"])
    found: dict[str, Published] = {}
    for row in rows:
        if taken[row["variant"]] != row["scale"]:
            continue
        curve = found.setdefault(row["variant"], Published([], {m: [] for m in METRICS}))
        try:
            curve.steps.append(int(row["step"]))
            for metric in METRICS:
                curve.values[metric].append(float(row[metric]))
        except ValueError:
            raise ValueError(f"{path.name}: {row} has a cell that is no number") from None
    return found


def analyse(selection: Selection) -> Analysis:
    """The table, the figure and the JSON of one selection of runs.

    Raises: ValueError when no run logged a habit."""
    if not any(_logged(run.record, f"group/{h}") for run in selection.runs for h in HABITS):
        raise ValueError(f"{selection.recipe} at {selection.scale}: no run logged a habit")
    folder = selection.folder
    theirs = published(folder / FILE, selection.scale) if folder else {}
    lines: list[list[str]] = []
    values: dict[str, Any] = {}
    for arm, runs in selection.arms.items():
        for metric, name in METRICS.items():
            both = [tenths(c) for run in runs if (c := _logged(run.record, name))]
            if not both:
                continue
            first, last = (over_seeds([b[i] for b in both], UNBOUNDED, False) for i in (0, 1))
            change = over_seeds([b[1] - b[0] for b in both], UNBOUNDED, False)
            curve = theirs.get(arm)
            ends = [curve.values[metric][i] for i in (0, -1)] if curve else []
            lines.append(
                [arm, metric, *map(interval_text, (first, last)), interval_text(change, "+")]
                + ([f"{e:.3g}" for e in ends] or ["-", "-"])
            )
            values.setdefault(arm, {})[metric] = {
                "first": asdict(first),
                "last": asdict(last),
                "change": asdict(change),
                "published": ends,
            }
    title = f"habits of {selection.recipe} at {selection.scale}"
    head = "arm | metric | first tenth | last tenth | change | paper, first | paper, last"
    table = Table("habits over training", head, lines)
    return Analysis("habits", title, [table], NOTES, values, draw(selection, theirs, title))


def _logged(record: dict[str, Any] | None, name: str) -> list[float]:
    assert record is not None
    return [v for v in record["curves"]["metrics"].get(name, []) if v is not None]


def draw(selection: Selection, theirs: dict[str, Published], title: str) -> Figure:
    """A panel for each metric: our arms over the share of the run, published ones dashed behind;
    arms that repeat a colour have other dashes than those before them."""
    looks = {
        arm: (style(i)["color"], *DASHES[i // len(COLOURS) % len(DASHES)])
        for i, arm in enumerate(selection.arms)
    }
    made, grid = figure(2, 3, title)
    for axes, (metric, name) in zip(grid.ravel(), METRICS.items(), strict=True):
        for arm, runs in selection.arms.items():
            colour, our_dash, their_dash = looks[arm]
            curves = [c for run in runs if (c := _logged(run.record, name))]
            if curves:
                mean_T = np.mean([c[: min(map(len, curves))] for c in curves], axis=0)
                share_T = np.linspace(0, 1, mean_T.size)
                axes.plot(share_T, mean_T, our_dash, linewidth=1.4, color=colour)
            if arm in theirs:
                steps = np.array(theirs[arm].steps)
                behind = {"linestyle": their_dash, "linewidth": 0.9, "alpha": 0.55, "zorder": 1}
                # a length in a large model's tokens would hide ours: only what is comparable
                if metric != "length" or selection.scale.startswith(SETTING):
                    axes.plot(
                        steps / max(1, steps[-1]),
                        theirs[arm].values[metric],
                        color=colour,
                        **behind,
                    )
        axes.set_title(f"{metric} ({name})", fontsize=10)
        axes.set_xlabel("share of the run", fontsize=9)
    colours = [Line2D([], [], color=colour, linestyle=dash) for colour, dash, _ in looks.values()]
    kinds = [Line2D([], [], color="#555555", linestyle=s) for s in DASHES[0]]
    names = [*selection.arms, "ours", "published"]
    made.legend(colours + kinds, names, loc="outside lower center", ncols=5, frameon=False)
    return made
