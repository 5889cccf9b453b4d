"""Does the count of a habit predict accuracy within an arm, problem by problem? And do the two
counters, rules and language model, agree?

Gandhi et al. 2025 (arXiv 2503.01307) ask whether the habits cause the gains or come with what does.
Between arms the two cannot be told apart; within an arm all responses had the same training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from common.analysis.habit_counts import classified, rule_counts, validation_counts
from common.analysis.report import Analysis, Table, bars, figure, interval_text
from common.analysis.runs import AFTER, Selection, read_responses, saved_benchmarks
from common.habits import HABITS
from common.results.rows import Estimate
from common.results.statistics import (
    UNBOUNDED,
    mean_interval,
    percentile_interval,
    problem_resamples,
    seed_interval,
)

FEWEST = 5  # problems with any spread, below which a slope gets no interval
NOTES = [
    "between problems: accuracy gained for one more occurrence, over the problems' means. Problems "
    "that invite a habit may be easier or harder, so this mixes the two.",
    "within problems: the same over responses to one problem (deviations from the problem's mean), "
    "free of its difficulty. Intervals: bootstrap over problems, of all seeds together.",
    "Neither is a cause: who solves a puzzle at the first try has no reason to try again, so that "
    "backtracking can go with failure although it helps.",
    "agreement: of responses that both counters saw. kappa: Cohen's, of a habit's presence.",
]


@dataclass
class Sample:
    """Of many responses: counts of each habit, whether it is right, and its problem."""

    counts: list[list[int]] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    problem: list[str] = field(default_factory=list)

    def slopes(self, habit: int) -> dict[str, Estimate | None]:
        return slopes(np.array(self.counts, dtype=float)[:, habit], self.right, self.problem)


def slopes(
    counts: NDArray, right: Sequence[float], problem: Sequence[str]
) -> dict[str, Estimate | None]:
    """Least-squares slopes of accuracy on the count, `between` problems and `within` them; None
    where the count does not vary. Args: counts, right, problem: (N,), one for each response."""
    ids, index = np.unique(np.asarray(problem), return_inverse=True)
    size_P = np.bincount(index)
    x_P, y_P = (np.bincount(index, np.asarray(v, dtype=float)) / size_P for v in (counts, right))
    dx_N, dy_N = counts - x_P[index], np.asarray(right) - y_P[index]
    within = np.bincount(index, dx_N * dy_N), np.bincount(index, dx_N**2)
    dx_P = x_P - x_P.mean()
    between = dx_P * (y_P - y_P.mean()), dx_P**2
    rows_RP = problem_resamples(tuple(ids))
    return {
        "between": _ratio(*between, rows_RP),
        "within": _ratio(*within, rows_RP),
    }


def _ratio(over_P: NDArray, under_P: NDArray, rows_RP: NDArray) -> Estimate | None:
    """A ratio of sums over problems, with its bootstrap interval."""
    if under_P.sum() < 1e-12:
        return None
    value = float(over_P.sum() / under_P.sum())
    varied = int(np.count_nonzero(under_P > 1e-12))
    if varied < FEWEST:
        return Estimate(value, UNBOUNDED, "problems")
    with np.errstate(all="ignore"):
        samples_R = over_P[rows_RP].sum(axis=1) / under_P[rows_RP].sum(axis=1)
    return Estimate(value, percentile_interval(samples_R, varied), "problems")


@dataclass(frozen=True)
class Agreement:
    """Of two counters on `n` responses: mean counts, shares with equal counts and with equal
    presence, and Cohen's kappa of presence (None where one of them always says the same)."""

    n: int
    mean_rules: float
    mean_model: float
    equal: Estimate
    presence: Estimate
    kappa: float | None


def agreement(rules: Sequence[int], model: Sequence[int]) -> Agreement:
    """Compare two counts of each response. Raises: ValueError without responses."""
    if not len(rules):
        raise ValueError("agreement: no response was counted by both")
    a_N, b_N = np.asarray(rules), np.asarray(model)
    equal_N, same_N = (a_N == b_N).astype(float), ((a_N > 0) == (b_N > 0)).astype(float)
    p, q = float((a_N > 0).mean()), float((b_N > 0).mean())
    chance = p * q + (1 - p) * (1 - q)
    observed = float(same_N.mean())
    return Agreement(
        n=len(a_N),
        mean_rules=float(a_N.mean()),
        mean_model=float(b_N.mean()),
        equal=Estimate(float(equal_N.mean()), mean_interval(equal_N), "responses"),
        presence=Estimate(observed, mean_interval(same_N), "responses"),
        kappa=(observed - chance) / (1 - chance) if 0 < p < 1 and 0 < q < 1 else None,
    )


def analyse(selection: Selection, benchmarks: Sequence[str] = ()) -> Analysis:
    """The tables, the figure and the JSON, over the saved responses; by default of all
    benchmarks."""
    lines, agreed, over_steps = [], [], []
    values: dict[str, Any] = {"slopes": {}, "agreement": {}, "steps": {}}
    shown: dict[str, dict[str, Estimate]] = {}
    for label, stage, runs in selection.models:
        for benchmark in saved_benchmarks(runs[0], benchmarks):
            sample, pairs = Sample(), []
            for run in runs:
                model = classified(run, stage, benchmark)
                for row in read_responses(run, stage, benchmark):
                    counts = rule_counts(row)
                    sample.counts.append([counts[h] for h in HABITS])
                    sample.right.append(float(row["accuracy"]))
                    sample.problem.append(f"{run.seed}/{row['id']}")
                    if (row["id"], row["sample"]) in model:
                        pairs.append((counts, model[row["id"], row["sample"]]))
            where = f"{benchmark}: {label}"
            for i, habit in enumerate(HABITS):
                found = sample.slopes(i)
                mean = float(np.mean([c[i] for c in sample.counts]))
                cells = [interval_text(e, "+") if e else "-" for e in found.values()]
                lines.append([benchmark, label, habit, f"{mean:.3g}", *cells])
                kept = {k: asdict(e) if e else None for k, e in found.items()}
                values["slopes"].setdefault(where, {})[habit] = {"mean": mean, **kept}
                if stage == AFTER and found["within"]:
                    shown.setdefault(habit, {})[where] = found["within"]
                if pairs:
                    both = agreement([a[habit] for a, _ in pairs], [b[habit] for _, b in pairs])
                    agreed.append([benchmark, label, habit, *_cells(both)])
                    values["agreement"].setdefault(where, {})[habit] = asdict(both)
    for arm, runs in selection.arms.items():
        for step, counts_of in validation_counts(runs).items():
            means = {h: _mean([c[h] for c in counts_of]) for h in HABITS}
            shown_means = [interval_text(e) for e in means.values()]
            over_steps.append([arm, str(step), str(len(counts_of)), *shown_means])
            found_means = {h: asdict(e) for h, e in means.items()}
            values["steps"].setdefault(arm, {})[str(step)] = found_means
    title = f"habits and accuracy of {selection.recipe} at {selection.scale}"
    names = " | ".join(HABITS)
    tables = [
        Table(
            "accuracy on the count of a habit",
            "benchmark | model | habit | mean count | between problems | within problems",
            lines,
        ),
        Table(
            "agreement of the counters",
            "benchmark | model | habit | n | mean, rules | mean, model | equal | presence | kappa",
            agreed,
        ),
        Table("classifier over training", f"arm | step | n | {names}", over_steps),
    ]
    return Analysis("mediation", title, tables, NOTES, values, draw(shown, title))


def _mean(values: Sequence[int]) -> Estimate:
    mean = float(np.mean(values))
    interval = seed_interval([float(v) for v in values]) if len(values) > 1 else UNBOUNDED
    return Estimate(mean, interval, "responses")


def _cells(found: Agreement) -> list[str]:
    kappa = "-" if found.kappa is None else f"{found.kappa:.3f}"
    means = [f"{found.mean_rules:.3g}", f"{found.mean_model:.3g}"]
    return [str(found.n), *means, *map(interval_text, (found.equal, found.presence)), kappa]


def draw(shown: dict[str, dict[str, Estimate]], title: str) -> Figure:
    """One panel for each habit that varies: the slope within problems of every arm."""
    made, grid = figure(1, max(1, len(shown)), title)
    made.set_figheight(1.8 + 0.28 * max([len(v) for v in shown.values()], default=1))
    for axes, (habit, found) in zip(grid[0], shown.items(), strict=False):
        bars(axes, list(found), list(found.values()), "accuracy for one more, within problems")
        axes.axvline(0, color="#555555", linewidth=0.8)
        axes.set_title(habit, fontsize=10)
    return made
