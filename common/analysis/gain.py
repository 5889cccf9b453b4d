"""What a step's update costs and earns: reward gained by second of update and by response.

For arms that differ in how many of the sampled responses they train on (`group/kept`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from common.analysis.bootstrap import over_seeds
from common.analysis.report import Analysis, Table, figure, interval_text, legend
from common.analysis.runs import Run, Selection
from common.results.plots import style
from common.results.tables import seeds_text

REWARD, DRAWN, KEPT = "group/score", "group/samples", "group/kept"
UPDATES = ("timing_s/update_actor", "timing_s/update_critic")
ENDS = 9  # steps
SHOWN = {
    "gain": "reward gained",
    "seconds": "seconds of update",
    "drawn": "responses drawn",
    "trained": "trained on",
    "by_minute": "gain a minute of update",
    "by_drawn": "gain a 1,000 drawn",
    "by_trained": "gain a 1,000 trained on",
}
NOTES = [
    f"Reward: `{REWARD}`, of all responses that were drawn, also those left out of the update; "
    f"gained: mean of the last {ENDS} steps minus mean of the first {ENDS}.",
    "Seconds of update: the policy's and, where there is one, the value model's, of all steps. "
    "They depend on the machine and on what else it does: compare arms that ran alike.",
    "Intervals are Student's t over seeds; one seed has none.",
]


def columns(run: Run) -> dict[str, NDArray[np.float64]]:
    """By step: the reward, and so far the seconds of update, responses drawn and trained on. Empty
    for a run that drew none."""
    assert run.record is not None
    logged = run.record["curves"]["metrics"]
    found = {
        name: np.array([np.nan if v is None else v for v in logged[name]], dtype=float)
        for name in (REWARD, DRAWN, KEPT, *UPDATES)
        if name in logged
    }
    if not {REWARD, DRAWN, KEPT, UPDATES[0]} <= set(found):
        return {}
    # before the first step there is a validation alone
    steps = np.isfinite(found[REWARD]) & np.isfinite(found[UPDATES[0]])
    found = {name: values[steps] for name, values in found.items()}
    seconds = np.sum([found[name] for name in UPDATES if name in found], axis=0)
    return {
        "reward": found[REWARD],
        "seconds": np.cumsum(seconds),
        "drawn": np.cumsum(found[DRAWN]),
        "trained": np.cumsum(found[DRAWN] * found[KEPT]),
    }


def measures(curve: dict[str, NDArray[np.float64]]) -> dict[str, float]:
    """The numbers of one run, by the keys of `SHOWN`."""
    reward = curve["reward"]
    found = {"gain": float(reward[-ENDS:].mean() - reward[:ENDS].mean())}
    found |= {name: float(curve[name][-1]) for name in ("seconds", "drawn", "trained")}
    by = {"by_minute": found["seconds"] / 60}
    by |= {f"by_{name}": found[name] / 1000 for name in ("drawn", "trained")}
    return found | {name: found["gain"] / amount for name, amount in by.items()}


def analyse(selection: Selection) -> Analysis:
    """The table, the figure and the JSON of the runs that drew responses.

    Raises: ValueError when none did, or not for long enough.
    """
    arms: dict[str, dict[int, dict[str, NDArray[np.float64]]]] = {}
    for run in selection.runs:
        curve = columns(run)
        if curve and len(curve["reward"]) >= 2 * ENDS:
            arms.setdefault(run.variant, {})[run.seed] = curve
    if not arms:
        raise ValueError(
            f"{selection.recipe}: no run at {selection.scale} logged {REWARD}, {DRAWN}, {KEPT} and "
            f"{UPDATES[0]} in {2 * ENDS} steps or more"
        )
    lines: list[list[str]] = []
    values: dict[str, Any] = {}
    for arm, curves in arms.items():
        each = {seed: measures(curve) for seed, curve in curves.items()}
        found = {
            name: over_seeds([one[name] for one in each.values()], None, shares=False)
            for name in SHOWN
        }
        values[arm] = {name: asdict(estimate) for name, estimate in found.items()}
        lines.append([arm, seeds_text(list(each)), *map(interval_text, found.values())])
        if len(each) > 1:  # an arm of one seed is compared with that seed of this one
            for seed, one in each.items():
                lines.append([arm, str(seed), *(f"{one[name]:.4g}" for name in SHOWN)])
            values[arm]["seeds"] = {str(seed): one for seed, one in each.items()}
    title = f"what updates earn in {selection.recipe} at {selection.scale}"
    table = Table("reward gained", " | ".join(["arm", "seeds", *SHOWN.values()]), lines)
    return Analysis("gain", title, [table], NOTES, values, draw(arms, title))


def draw(arms: dict[str, dict[int, dict[str, NDArray[np.float64]]]], title: str) -> Figure:
    """The reward against what it cost so far."""
    made, grid = figure(1, 3, title)
    for axes, name in zip(grid[0], ("seconds", "drawn", "trained"), strict=True):
        for i, curves in enumerate(arms.values()):
            for curve in curves.values():
                axes.plot(curve[name], curve["reward"], linewidth=1.2, **style(i))
        axes.set_xlabel(SHOWN[name], fontsize=9)
    grid[0, 0].set_title("reward of all responses", fontsize=10)
    legend(made, arms)
    return made
