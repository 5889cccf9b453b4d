"""Intervals for the numbers that a record holds. All are two-sided 95 % and deterministic.

Which one answers what: `mean_interval` another draw of problems, `curve_interval` another stretch
of the same run, `seed_interval` another run. Only the last covers what a repeated experiment would
show; the first two are "within seed".
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats  # type: ignore[import-untyped]

LEVEL = 0.95
RESAMPLES = 2_000
# Simulated coverage in percent, lowest and highest over the settings of
# tests/common/results/test_coverage.py, by kind and number of problems, steps or seeds. What lowers
# it: few problems that nearly all are solved (pass@k), steps that are correlated (.5 there).
COVERAGE: dict[str, dict[int, tuple[float, float]]] = {
    "mean of problems": {30: (84, 97), 200: (93, 97)},
    "paired difference": {30: (91, 97), 200: (93, 97)},
    "ratio of means": {30: (91, 97), 200: (93, 97)},
    "mean of steps": {30: (88, 97), 200: (92, 97)},
    "slope over steps": {30: (86, 98), 200: (92, 99)},
    "mean of seeds": {2: (93, 97), 3: (93, 97)},
}
UNBOUNDED = (-np.inf, np.inf)  # too few units to say anything: a verdict on it is undecided

Interval = tuple[float, float]


def coverage_text() -> str:
    """`COVERAGE` in one sentence."""
    kinds = (
        f"{kind} "
        + ", ".join(f"{low:g}-{high:g} % at {size}" for size, (low, high) in sizes.items())
        for kind, sizes in COVERAGE.items()
    )
    return "; ".join(kinds)


def mean_interval(estimates: ArrayLike) -> Interval:
    """Interval of the mean of per-problem estimates in [0, 1] (accuracy, pass@k), over problems.

    Wilson's score interval with the effective sample size p(1-p) / Var(mean) in place of n (Kott
    and Carr 1997 for clustered samples); all 0 or 1, it is Wilson's interval. Chosen by simulation
    (2,000 data sets each; problems Beta-distributed in difficulty, 1 to 64 samples, mean .05 to
    .98): coverage at 200 problems is 93-97 %, where the normal interval on the same means gives
    88-96 % and the percentile bootstrap 93-98 %; unlike both it holds at 30 problems and does not
    shrink to a point at 0 or 1. Limit: pass@k with 1 < k < n above .99 covers less (80-90 %).

    Args: estimates: (P,) one per problem.
    Raises: ValueError when empty or outside [0, 1].
    """
    values_P = np.asarray(estimates, dtype=float)
    if values_P.size == 0 or not bool(((values_P >= 0) & (values_P <= 1)).all()):
        raise ValueError("mean_interval: give at least one per-problem estimate, all in [0, 1]")
    mean = float(values_P.mean())
    variance = float(values_P.var())
    count = values_P.size * (mean * (1 - mean) / variance if variance > 0 else 1.0)
    z2 = float(stats.norm.ppf((1 + LEVEL) / 2)) ** 2
    centre = (mean + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (mean * (1 - mean) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    # At 0 and 1 one end is the mean itself, but for rounding.
    return min(mean, max(0.0, float(centre - half))), max(mean, min(1.0, float(centre + half)))


def seed_interval(values: Sequence[float]) -> Interval:
    """Student t interval of the mean over seeds (one value per seed), n - 1 degrees of freedom.

    Raises: ValueError for fewer than two values: one seed says nothing about another.
    """
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs two seeds, got {len(values)}; run another")
    mean = float(np.mean(values))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values))
    return mean - half, mean + half


def problem_resamples(ids: Sequence[str]) -> NDArray[np.int64]:
    """(RESAMPLES, P) bootstrap indices into problems with these ids.

    The generator is seeded by the ids, so every arm measured on the same problems is resampled
    alike (a paired bootstrap) and two different benchmarks are resampled independently.
    """
    seed = int.from_bytes(hashlib.sha256("\0".join(ids).encode()).digest()[:8], "big")
    return np.random.default_rng(seed).integers(0, len(ids), (RESAMPLES, len(ids)))


def block_length(length: int) -> int:
    """Block of the moving-block bootstrap: ceil(sqrt(T)); see `curve_interval`."""
    return int(np.ceil(np.sqrt(length)))


def step_resamples(length: int) -> NDArray[np.int64]:
    """(RESAMPLES, T) moving-block bootstrap indices into T logged steps (Kunsch 1989).

    Blocks keep the autocorrelation of a training curve. Seeded by T: all curves of one length get
    the same blocks, so arms are resampled in pairs.
    """
    block = block_length(length)
    starts = np.random.default_rng(length).integers(
        0, length - block + 1, (RESAMPLES, -(-length // block))
    )
    return (starts[..., None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :length]


def percentile_interval(samples: ArrayLike, units: float) -> Interval:
    """Expanded percentile interval of bootstrap samples drawn from so many independent units.

    The plain percentiles are those of a normal that knows its variance; for few units (blocks) the
    levels move out to Student's t and the n - 1 of the variance (Hesterberg 2015, sec. 4.1.3).
    Samples that are not a number, or fewer than two units, give an unbounded interval.
    """
    values = np.asarray(samples, dtype=float)
    if units < 2 or bool(np.isnan(values).any()):
        return UNBOUNDED
    reach = np.sqrt(units / (units - 1)) * stats.t.ppf((1 + LEVEL) / 2, units - 1)
    tail = float(stats.norm.cdf(-reach))
    # inverted_cdf takes a sample as it is: interpolation next to an infinite one gives NaN.
    low, high = np.quantile(values, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def curve_interval(values: ArrayLike) -> Interval:
    """Interval of the mean of a training curve over its logged steps, within one run.

    Moving-block bootstrap with expanded percentiles. Simulated coverage on AR(1) noise: 95-96 %
    without correlation, 92-94 % at correlation .5 (50 to 500 steps; plain percentiles 83-91 %),
    82-91 % at .8. Args: values: (T,).
    """
    curve_T = np.asarray(values, dtype=float)
    means = curve_T[step_resamples(curve_T.size)].mean(axis=1)
    return percentile_interval(means, curve_T.size / block_length(curve_T.size))
