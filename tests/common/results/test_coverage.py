"""Simulated coverage of every 95 % interval in use: what `statistics.COVERAGE` says of it.

Each simulation draws data sets whose truth is known, as the intervals meet them: problems that
differ in difficulty, arms that share their problems, curves whose steps are correlated.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from common.analysis.bootstrap import intervals, weights
from common.analysis.entropy import fit
from common.evaluation.pass_at_k import pass_at_k
from common.results import statistics
from common.results.statistics import Interval

SETS = 600  # data sets a setting: the standard error of a coverage of 95 % is 0.9 points
DIFFICULTY = ((2, 2), (0.5, 0.5), (1, 8))  # Beta(a, b)


def covered(found: Iterable[Interval], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in found]))


def ids(size: int) -> list[str]:
    return [f"p{i}" for i in range(size)]


def mean_of_problems(size: int, draw: np.random.Generator) -> list[float]:
    """Wilson with the effective sample size: accuracy of 1 and 8 samples, pass@8 of 16."""
    found = []
    for a, b in DIFFICULTY:
        for samples, k in ((1, 1), (8, 1), (16, 8)):
            counts = np.arange(samples + 1)
            scores = pass_at_k([samples] * len(counts), counts, k)
            truth = float(stats.betabinom.pmf(counts, samples, a, b) @ scores)
            correct = draw.binomial(samples, draw.beta(a, b, (SETS, size)))
            found.append(covered(map(statistics.mean_interval, scores[correct]), truth))
    return found


def paired_difference(size: int, draw: np.random.Generator) -> list[float]:
    """Percentile bootstrap of problems: an arm that is better by up to 10 points."""
    found = []
    for a, b in DIFFICULTY:
        for samples in (1, 8):
            before, more = draw.beta(a, b, (size, SETS)), draw.uniform(0, 0.1, (size, SETS))
            after = before + more * (1 - before)
            truth = 0.05 * b / (a + b)
            values = (draw.binomial(samples, p) / samples for p in (after, before))
            difference = np.subtract(*values)
            found.append(covered(intervals(difference, ids(size), shares=False), truth))
    return found


def ratio_of_means(size: int, draw: np.random.Generator) -> list[float]:
    """The same of a ratio, as LiMem's consistency: solved twins over solved problems."""
    found = []
    for a, b in DIFFICULTY:
        solved = draw.beta(a, b, (size, SETS))
        twins = solved * draw.beta(4, 1, (size, SETS))
        resampled = weights(tuple(ids(size)))
        ratios = (resampled @ twins) / (resampled @ solved)
        found.append(covered((statistics.percentile_interval(r, size) for r in ratios.T), 0.8))
    return found


def correlated(steps: int, draw: np.random.Generator, correlation: float) -> NDArray[np.float64]:
    """(SETS / 2, T) AR(1) noise."""
    noise = draw.normal(size=(SETS // 2, steps + 50))
    for t in range(1, noise.shape[1]):
        noise[:, t] += correlation * noise[:, t - 1]
    return noise[:, 50:]


def mean_of_steps(steps: int, draw: np.random.Generator) -> list[float]:
    """Moving-block bootstrap of a curve, without correlation and with one of .5."""
    return [
        covered(map(statistics.curve_interval, correlated(steps, draw, rho)), 0.0)
        for rho in (0.0, 0.5)
    ]


def slope_over_steps(steps: int, draw: np.random.Generator) -> list[float]:
    """The same of the residuals of reward on exp(entropy)."""
    entropy = 0.1 + 0.4 * 0.9 ** np.linspace(0, 30, steps)
    return [
        covered((fit(entropy, noise - 1.5 * np.exp(entropy)).a_interval for noise in curves), 1.5)
        for curves in (correlated(steps, draw, rho)[:150] for rho in (0.0, 0.5))
    ]


def mean_of_seeds(seeds: int, draw: np.random.Generator) -> list[float]:
    values = draw.normal(size=(2 * SETS, seeds)).tolist()
    return [covered(map(statistics.seed_interval, values), 0.0)]


SIMULATIONS: dict[str, Callable[[int, np.random.Generator], list[float]]] = {
    "mean of problems": mean_of_problems,
    "paired difference": paired_difference,
    "ratio of means": ratio_of_means,
    "mean of steps": mean_of_steps,
    "slope over steps": slope_over_steps,
    "mean of seeds": mean_of_seeds,
}


@pytest.mark.parametrize(
    ("kind", "size"), [(k, n) for k, sizes in statistics.COVERAGE.items() for n in sizes]
)
def test_the_stated_coverage_is_the_simulated_one(kind: str, size: int) -> None:
    low, high = statistics.COVERAGE[kind][size]
    found = SIMULATIONS[kind](size, np.random.default_rng(size))
    assert all(low <= 100 * share <= high for share in found), found
