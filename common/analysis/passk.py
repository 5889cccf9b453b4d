"""pass@k curves with bands, differences from the model before RL, and what follows from them.

Protocol of Yue et al. 2025 (arXiv 2504.13837, appendix A.2) and Zhu et al. 2025 (arXiv 2506.01347):
the unbiased estimate per problem, its mean over problems, k up to the number of samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from common.analysis.bootstrap import intervals, over_seeds
from common.analysis.report import Analysis, Table, figure, interval_text
from common.analysis.runs import BEFORE, Run, Selection
from common.results.plots import style
from common.results.record import BASE, estimates
from common.results.rows import BEFORE_RL, Estimate
from common.results.statistics import Interval

MATCHED = 0.02  # models whose pass@1 differ by no more are compared at their largest k
NOTES = [
    "pass@k is the unbiased estimate 1 - C(n-c,k)/C(n,k), averaged over problems.",
    "An interval over problems is an expanded percentile bootstrap (2,000 resamples, seeded), "
    "pointwise in k; differences are paired: each resample takes the same problems of both. An "
    "interval over seeds is Student's t. The bands of the figure are over problems.",
    "Efficiency gap: pass@K of the model before RL, K the largest k, minus pass@1 of the arm "
    "(lower is better). Overtaken at: the least k at which the model before RL is ahead of an arm "
    "that leads at k = 1, by the means.",
    f"Matched: pairs of models whose pass@1 differ by at most {MATCHED:g}.",
]


@dataclass(frozen=True)
class Curve:
    """pass@k of one model: seed -> (P, K), the problems in the order of `ids`."""

    ids: tuple[str, ...]
    seeds: dict[int, NDArray[np.float64]]

    @property
    def mean(self) -> NDArray[np.float64]:
        """(P, K) over seeds."""
        return np.mean(list(self.seeds.values()), axis=0)

    def __sub__(self, other: Curve) -> Curve:
        """Problem by problem, in the seeds that both have.

        Raises: ValueError when the problems differ or no seed is common.
        """
        common = sorted(set(self.seeds) & set(other.seeds))
        if self.ids != other.ids or not common:
            raise ValueError("a paired difference needs the same problems and a common seed")
        return Curve(self.ids, {s: self.seeds[s] - other.seeds[s] for s in common})

    def bands(self, shares: bool = True) -> list[Interval]:
        return intervals(self.mean, self.ids, shares)

    def summary(self, shares: bool = True) -> list[Estimate]:
        """Mean and interval at every k: over seeds where there are several, else over problems."""
        per_seed_SK = np.array([values_PK.mean(axis=0) for values_PK in self.seeds.values()])
        return [
            over_seeds(per_seed_SK[:, k].tolist(), within, shares)
            for k, within in enumerate(self.bands(shares))
        ]


def k_grid(samples: int) -> list[int]:
    """1, 2, 4, ... and the number of samples itself."""
    return sorted({2**i for i in range(samples.bit_length())} | {samples})


def curve(counts: Mapping[int, dict[str, Any]], ks: list[int], where: str) -> Curve:
    """Args: counts: seed -> {"id": [P], "n": [P], "c": [P]}.

    Raises: ValueError when the seeds have different problems.
    """
    first = min(counts)
    ids = tuple(sorted(counts[first]["id"]))
    seeds = {}
    for seed, problems in counts.items():
        order = np.argsort(problems["id"])
        if tuple(problems["id"][i] for i in order) != ids:
            raise ValueError(
                f"{where}: seeds {first} and {seed} have other problems; name one with seed="
            )
        seeds[seed] = np.stack([estimates(problems, k)[order] for k in ks], axis=1)
    return Curve(ids, seeds)


def overtaken_at(difference_K: NDArray, ks: list[int]) -> int | None:
    """The least k at which an arm that leads at k = 1 is behind; None when it never is.

    Args: difference_K: (K,) pass@k of the arm minus that of the model before RL.
    """
    behind = np.flatnonzero(difference_K < 0)
    return ks[behind[0]] if difference_K[0] > 0 and behind.size else None


def efficiency_gap(arm: Curve, base: Curve) -> Estimate:
    """pass@K of the model before RL minus pass@1 of the arm, K the largest k (2504.13837, 4.3)."""
    last = Curve(base.ids, {s: v[:, -1:] for s, v in base.seeds.items()})
    first = Curve(arm.ids, {s: v[:, :1] for s, v in arm.seeds.items()})
    return (last - first).summary(shares=False)[0]


def matched(models: Mapping[str, Curve], tolerance: float = MATCHED) -> list[dict[str, Any]]:
    """Pairs of models with pass@1 within the tolerance, and by how much they differ at the ends.

    Returns: {"models": (a, b), "at_1": Estimate, "at_K": Estimate}, of a minus b.
    """
    found = []
    for (a, first), (b, second) in combinations(models.items(), 2):
        if not set(first.seeds) & set(second.seeds) or first.ids != second.ids:
            continue
        at = (first - second).summary(shares=False)
        if abs(at[0].value) <= tolerance:
            found.append({"models": (a, b), "at_1": at[0], "at_K": at[-1]})
    return found


@dataclass(frozen=True)
class Benchmark:
    """`models`: everything that has a curve, by name; `bases`: of each arm, its model before RL."""

    name: str
    ks: list[int]
    models: dict[str, Curve]
    bases: dict[str, Curve]


def shared(selection: Selection) -> tuple[list[str], list[str]]:
    """Names of the benchmarks that all runs have: of the same problems, and of a seed's own.

    Raises: ValueError when there are only such as have other problems in other seeds.
    """
    names = set.intersection(*(set(r.problems) for r in selection.runs))
    same: list[str] = []
    own: list[str] = []
    for name in sorted(n for n in names if n + BASE in names):
        problems = {frozenset(r.problems[name]["id"]) for r in selection.runs}
        (same if len(problems) == 1 else own).append(name)
    if own and not same:
        raise ValueError(f"{', '.join(own)}: seeds have other problems; name one with seed=")
    return same, own


def benchmarks(selection: Selection, names: Sequence[str]) -> list[Benchmark]:
    """The curves of every named benchmark."""
    found = []
    for name in names:
        both = (name, name + BASE)
        ks = k_grid(min(min(r.problems[n]["n"]) for r in selection.runs for n in both))

        def of(runs: Sequence[Run], key: str, ks: list[int] = ks) -> Curve:
            where = f"{runs[0].variant}, {key}"
            return curve({r.seed: r.problems[key] for r in runs}, ks, where)

        models = {
            label: of(runs, name + BASE if stage == BEFORE else name)
            for label, stage, runs in selection.models
        }
        bases = {arm: of(runs, name + BASE) for arm, runs in selection.arms.items()}
        found.append(Benchmark(name, ks, models, bases))
    return found


def analyse(selection: Selection) -> Analysis:
    """The tables, the figure and the JSON of one selection of runs."""
    names, own = shared(selection)
    found = benchmarks(selection, names)
    notes = [f"Not here, since seeds have other problems: {', '.join(own)}."] if own else []
    at_k, at_ends, pairs, values = [], [], [], {}
    for benchmark in found:
        ks, entries = benchmark.ks, {}
        for name, model in benchmark.models.items():
            scores, bands = model.summary(), model.bands()
            entry: dict[str, Any] = {
                "seeds": sorted(model.seeds),
                "pass@k": [asdict(e) for e in scores],
                "band": bands,
            }
            differences = ["-"] * len(ks)
            if name in benchmark.bases:
                difference = model - benchmark.bases[name]
                versus = difference.summary(shares=False)
                gap = efficiency_gap(model, benchmark.bases[name])
                overtaken = overtaken_at(difference.mean.mean(axis=0), ks)
                differences = [interval_text(e, "+") for e in versus]
                entry |= {
                    "difference": [asdict(e) for e in versus],
                    "difference_band": difference.bands(shares=False),
                    "efficiency_gap": asdict(gap),
                    "overtaken_at": overtaken,
                }
                at_ends.append(
                    [
                        benchmark.name,
                        name,
                        str(ks[-1]),
                        interval_text(scores[0]),
                        interval_text(scores[-1]),
                        interval_text(gap, "+"),
                        "-" if overtaken is None else str(overtaken),
                        gap.over,
                    ]
                )
            entries[name] = entry
            at_k += [
                [benchmark.name, name, str(k), interval_text(score), by, score.over]
                for k, score, by in zip(ks, scores, differences, strict=True)
            ]
        close = matched(benchmark.models)
        pairs += [
            [
                benchmark.name,
                *p["models"],
                str(ks[-1]),
                interval_text(p["at_1"], "+"),
                interval_text(p["at_K"], "+"),
                p["at_K"].over,
            ]
            for p in close
        ]
        values[benchmark.name] = {
            "k": ks,
            "problems": len(next(iter(benchmark.models.values())).ids),
            "models": entries,
            "matched": [p | {"at_1": asdict(p["at_1"]), "at_K": asdict(p["at_K"])} for p in close],
        }
    title = f"pass@k of {selection.recipe} at {selection.scale}"
    tables = [
        Table(
            "pass@k",
            f"benchmark | model | k | pass@k (95 % CI) | minus {BEFORE_RL} | CI over",
            at_k,
        ),
        Table(
            "ends of the curve",
            "benchmark | arm | K | pass@1 | pass@K | efficiency gap | overtaken at | CI over",
            at_ends,
        ),
        Table(
            "at matched pass@1", "benchmark | a | b | K | a - b at 1 | a - b at K | CI over", pairs
        ),
    ]
    return Analysis("passk", title, tables, NOTES + notes, values, draw(found, title))


def draw(found: list[Benchmark], title: str) -> Figure:
    """Per benchmark the curves, and beside them the differences from the model before RL."""
    made, grid = figure(len(found), 2, f"{title}; bands: 95 % over problems")
    names = list(dict.fromkeys(name for b in found for name in b.models))
    for (left, right), benchmark in zip(grid, found, strict=True):
        for name, model in benchmark.models.items():
            number = names.index(name)
            _line(left, benchmark.ks, name, model, number, shares=True)
            if name in benchmark.bases:
                difference = model - benchmark.bases[name]
                _line(right, benchmark.ks, name, difference, number, shares=False)
        left.set_title(benchmark.name, fontsize=11)
        right.axhline(0, color="#555555", linewidth=0.8)
        for axes, label in ((left, "pass@k"), (right, f"pass@k minus {BEFORE_RL}")):
            axes.set_xscale("log", base=2)
            axes.set_xticks(benchmark.ks, [str(k) for k in benchmark.ks])
            axes.set_xlabel("k", fontsize=9)
            axes.set_ylabel(label, fontsize=9)
    handles: dict[Any, Any] = {}
    for axes in grid[:, 0]:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    made.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=4, frameon=False
    )
    return made


def _line(axes: Any, ks: list[int], name: str, values: Curve, number: int, shares: bool) -> None:
    look = style(number)
    axes.plot(ks, values.mean.mean(axis=0), marker="o", markersize=3, label=name, **look)
    band = np.array(values.bands(shares), dtype=float)
    low, high = np.where(np.isfinite(band), band, np.nan).T
    axes.fill_between(ks, low, high, color=look["color"], alpha=0.13, linewidth=0)
