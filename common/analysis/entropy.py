"""Policy entropy over training, the share of groups that are solved whole, and what entropy pays.

The fit R = -a exp(H) + b of performance R on policy entropy H is that of Cui et al. 2025 (arXiv
2505.22617); it is linear in exp(H), so least squares has a closed form.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy import stats

from common.analysis.bootstrap import over_seeds
from common.analysis.report import Analysis, Table, figure, interval_text, legend
from common.analysis.runs import Run, Selection
from common.results.plots import VALIDATION, VALIDATIONS, panel, style
from common.results.record import BASE
from common.results.rows import Estimate
from common.results.statistics import (
    Interval,
    block_length,
    percentile_interval,
    step_resamples,
)

ENTROPY = "actor/entropy"
KINDS = ("entropy", "accuracy")
TRAINING = ("group/correct", "critic/score/mean")  # the first that was logged
COURSE = "course/"  # of a fine-tuning's models on the way, by benchmark
CURVES = (ENTROPY, "group/all_correct", "group/none_correct", "group/correct")
NOTES = [
    "R = -a exp(H) + b by least squares over the logged steps of one run. The 95 % interval of a "
    "is a moving-block bootstrap of the residuals, which keeps their autocorrelation; the standard "
    "errors (se) take residuals as independent. b - a is what the fit gives at H = 0.",
    f"H is `{ENTROPY}`, of the policy that sampled the step. A training score is of the same "
    "responses; a validation comes after the step's update, so it is paired with H of the next "
    "step (the last one has none).",
    f"`{ENTROPY}` is over the responses that go to the update: where a variant leaves responses "
    "out (`group/kept` below 1), it is the entropy on those only; `analyse forks` measures "
    "every model on responses of its evaluation.",
    "first and last tenth: means over those logged steps; the interval is over seeds.",
]
COURSE_NOTE = (
    "Before, on the way and after: of the evaluated models, also of those that fine-tuning left on "
    "its way, whose intervals over problems are not kept. Entropy is minus the mean "
    "log-probability of the tokens of responses drawn at temperature 1."
)


@dataclass(frozen=True)
class Fit:
    """R = -a exp(H) + b. `a_interval`: 95 %, over steps; `r2`: coefficient of determination."""

    n: int
    a: float
    a_se: float
    a_interval: Interval
    b: float
    b_se: float
    r2: float

    @property
    def at_zero(self) -> float:
        return self.b - self.a


def fit(entropies: ArrayLike, scores: ArrayLike) -> Fit:
    """Least squares of (T,) scores on (T,) entropies in nats, in the order of the steps.

    The interval of a: moving-block bootstrap of the residuals, expanded percentiles. Simulated
    coverage (400 data sets each, a falling entropy, 30 to 200 steps, AR(1) residuals): 95-97 %
    without correlation, 92-94 % at correlation .5, 83-90 % at .8; a t interval from the standard
    error has 95, 76-81 and 46-55 %.

    Raises: ValueError for fewer than three steps, or entropies that are all the same.
    """
    x_T, y_T = np.exp(np.asarray(entropies, dtype=float)), np.asarray(scores, dtype=float)
    if x_T.size < 3 or np.ptp(x_T) == 0:
        raise ValueError(f"a line through {x_T.size} points needs 3 with different entropies")
    line = stats.linregress(x_T, y_T)
    residuals_T = y_T - line.slope * x_T - line.intercept
    residuals_RT = residuals_T[step_resamples(x_T.size)] * np.sqrt(x_T.size / (x_T.size - 2))
    centred_T = x_T - x_T.mean()
    slopes_R = line.slope + residuals_RT @ centred_T / (centred_T @ centred_T)
    return Fit(
        n=x_T.size,
        a=-float(line.slope),
        a_se=float(line.stderr),
        a_interval=percentile_interval(-slopes_R, x_T.size / block_length(x_T.size)),
        b=float(line.intercept),
        b_se=float(line.intercept_stderr),
        r2=float(line.rvalue**2),
    )


def pairs(curves: dict[str, Any], metric: str) -> tuple[list[float], list[float]]:
    """Entropies and values of a metric, of the same policy, step by step; see `NOTES`."""
    entropy = dict(zip(curves["steps"], curves["metrics"].get(ENTROPY, []), strict=False))
    later = 1 if metric.startswith(VALIDATION) else 0
    found = [
        (entropy.get(step + later), value)
        for step, value in zip(curves["steps"], curves["metrics"][metric], strict=True)
    ]
    both = [(h, r) for h, r in found if h is not None and r is not None]
    return [h for h, _ in both], [r for _, r in both]


def metrics(curves: dict[str, Any]) -> list[str]:
    """The scores that a run logged: one of training, and its validations."""
    logged = curves["metrics"]
    training = [name for name in TRAINING if name in logged][:1]
    return training + sorted(fnmatch.filter(logged, VALIDATIONS))


def tenths(values: Sequence[float | None]) -> tuple[float, float]:
    """Means of the first and the last tenth of the logged values, at least one of each."""
    logged = [v for v in values if v is not None]
    size = max(1, round(len(logged) / 10))
    return float(np.mean(logged[:size])), float(np.mean(logged[-size:]))


def analyse(selection: Selection) -> Analysis:
    """The tables, the figure and the JSON of the runs that logged the entropy.

    Raises: ValueError when no run did.
    """
    course = on_the_way(selection)
    selection, without = _split(selection)
    lines: list[list[str]] = []
    fits: dict[str, dict[str, Any]] = {}
    for run in selection.runs:
        curves = _curves(run)
        fits[run.name] = {}
        for metric in metrics(curves):
            try:
                found = fit(*pairs(curves, metric))
            except ValueError as error:
                lines.append([run.variant, str(run.seed), metric, str(error), *["-"] * 6])
                continue
            fits[run.name][metric] = asdict(found) | {"at_zero": found.at_zero}
            lines.append(
                [
                    run.variant,
                    str(run.seed),
                    metric,
                    interval_text(Estimate(found.a, found.a_interval, "steps")),
                    f"{found.a_se:.3g}",
                    f"{found.b:.4g}",
                    f"{found.b_se:.3g}",
                    f"{found.r2:.3f}",
                    f"{found.at_zero:.4g}",
                    str(found.n),
                ]
            )
    title = f"entropy of {selection.recipe} at {selection.scale}"
    ends, changes = _ends(selection)
    tables = [
        Table(
            "R = -a exp(H) + b",
            "arm | seed | R | a (95 % CI) | se of a | b | se of b | R² | b - a | steps",
            lines,
        ),
        Table("curves", "arm | metric | first tenth | last tenth | last / first", ends),
    ]
    absent = "Not in the fits and the curves" if course else "Not here"
    notes = [f"{absent}, since `{ENTROPY}` was not logged: {without}."] if without else []
    values: dict[str, Any] = {"fits": fits, "curves": changes}
    if course:
        shown = [
            [c["arm"], c["benchmark"], str(c["step"])]
            + [interval_text(Estimate(**c[kind])) for kind in KINDS]
            for c in course
        ]
        head = "arm | benchmark | step | entropy (nats a token) | accuracy"
        tables.append(Table("before, on the way and after", head, shown))
        values["course"] = course
        notes.append(COURSE_NOTE)
    return Analysis("entropy", title, tables, NOTES + notes, values, draw(selection, title, course))


def on_the_way(selection: Selection) -> list[dict[str, Any]]:
    """Entropy and accuracy of every arm before and after, and of those that were evaluated there
    on the way, on the benchmarks that some arm was; one entry an arm, benchmark and step."""
    logged = {name for run in selection.runs for name in _curves(run)["metrics"]}
    benchmarks = sorted(
        name.removeprefix(COURSE).removesuffix("/entropy")
        for name in logged
        if name.startswith(COURSE) and name.endswith("/entropy")
    )
    entries = []
    for arm, runs in selection.arms.items():
        for benchmark in benchmarks:
            steps = [course_of(run, benchmark) for run in runs]
            for step in sorted(set.intersection(*(set(found) for found in steps))):
                kinds = {
                    kind: over_seeds(
                        [found[step][kind][0] for found in steps],
                        steps[0][step][kind][1],
                        shares=kind == "accuracy",
                    )
                    for kind in KINDS
                }
                entry = {"arm": arm, "benchmark": benchmark, "step": step}
                entries.append(entry | {kind: asdict(e) for kind, e in kinds.items()})
    return entries


def course_of(run: Run, benchmark: str) -> dict[int, dict[str, tuple[float, Interval | None]]]:
    """Step -> entropy and accuracy of one run, each with its interval over problems, which is not
    kept of models on the way; empty where the benchmark was not sampled from the policy's own
    distribution."""
    assert run.record is not None
    curves, final = _curves(run), run.record["metrics"]
    found: dict[int, dict[str, tuple[float, Interval | None]]] = {}
    for step, suffix in ((0, BASE), (max(curves["steps"]), "")):
        if f"{benchmark}{suffix}/entropy" in final:
            metrics = {kind: final[f"{benchmark}{suffix}/{kind}"] for kind in KINDS}
            found[step] = {k: (m["mean"], tuple(m["ci95"])) for k, m in metrics.items()}
    way = [curves["metrics"].get(f"{COURSE}{benchmark}/{kind}") for kind in KINDS]
    if None not in way:
        for step, *values in zip(curves["steps"], *way, strict=True):
            if None not in values:
                found[step] = {k: (v, None) for k, v in zip(KINDS, values, strict=True)}
    return found


def _curves(run: Run) -> dict[str, Any]:
    assert run.record is not None
    return run.record["curves"]


def _split(selection: Selection) -> tuple[Selection, str]:
    """The runs that logged the entropy, and the arms of the others: fine-tuning has none."""
    runs = [
        run
        for run in selection.runs
        if any(v is not None for v in _curves(run)["metrics"].get(ENTROPY, []))
    ]
    if not runs:
        run = selection.runs[0]
        raise ValueError(f"{run.name} has not logged {ENTROPY}; name an arm of RL, which does")
    without = dict.fromkeys(r.variant for r in selection.runs if r not in runs)
    return replace(selection, runs=runs), ", ".join(without)


def _ends(selection: Selection) -> tuple[list[list[str]], dict[str, Any]]:
    lines: list[list[str]] = []
    values: dict[str, Any] = {}
    for arm, runs in selection.arms.items():
        for metric in CURVES:
            logged = [_curves(r)["metrics"].get(metric) for r in runs]
            both = [tenths(c) for c in logged if c and any(v is not None for v in c)]
            if not both:
                continue
            kinds = {
                "first": [first for first, _ in both],
                "last": [last for _, last in both],
                "ratio": [last / first if first else float("nan") for first, last in both],
            }
            found = {k: over_seeds(v, None, shares=False) for k, v in kinds.items()}
            lines.append([arm, metric, *(interval_text(e) for e in found.values())])
            values.setdefault(arm, {})[metric] = {k: asdict(e) for k, e in found.items()}
    return lines, values


def draw(selection: Selection, title: str, course: list[dict[str, Any]]) -> Figure:
    """Entropy, share of groups solved whole, and score against entropy with the fitted curves;
    where fine-tuning was evaluated on the way, that beside the other arms' ends."""
    benchmarks = list(dict.fromkeys(entry["benchmark"] for entry in course))
    made, grid = figure(1, 3 + len(benchmarks), title)
    arms = {arm: [_curves(r) for r in runs] for arm, runs in selection.arms.items()}
    for axes, metric, name in (
        (grid[0, 0], ENTROPY, "entropy (nats per token)"),
        (grid[0, 1], "group/all_correct", "share of groups solved whole"),
    ):
        panel(axes, arms, metric, False)
        axes.set_title(name, fontsize=10)
    axes = grid[0, 2]
    for i, runs in enumerate(arms.values()):
        for curves in runs:
            h, r = pairs(curves, metrics(curves)[0])
            axes.plot(h, r, ".", markersize=3, color=style(i)["color"], alpha=0.6)
            if len(h) >= 3 and np.ptp(h):
                found, line = fit(h, r), np.linspace(min(h), max(h), 50)
                axes.plot(line, -found.a * np.exp(line) + found.b, linewidth=1.4, **style(i))
    axes.set_title("training score against entropy, with fits", fontsize=10)
    axes.set_xlabel("entropy (nats per token)", fontsize=9)
    shown = list(dict.fromkeys([*arms, *(entry["arm"] for entry in course)]))
    for axes, benchmark in zip(grid[0, 3:], benchmarks, strict=True):
        for i, arm in enumerate(shown):
            mine = [e for e in course if (e["arm"], e["benchmark"]) == (arm, benchmark)]
            steps = [entry["step"] for entry in mine]
            values = [entry["entropy"]["value"] for entry in mine]
            look = {"marker": "o", "markersize": 3, "linewidth": 1.4}
            axes.plot([s / max(steps) for s in steps], values, **look, **style(i))
        axes.set_title(f"entropy of responses, {benchmark}", fontsize=10)
        axes.set_xlabel("share of the steps", fontsize=9)
    legend(made, shown)
    return made
