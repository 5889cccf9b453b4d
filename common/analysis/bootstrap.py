"""Paired bootstrap over problems, of many means at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from common.results.rows import Estimate
from common.results.statistics import (
    UNBOUNDED,
    Interval,
    mean_interval,
    percentile_interval,
    problem_resamples,
    seed_interval,
)


@lru_cache(maxsize=4)
def weights(ids: tuple[str, ...]) -> NDArray[np.float64]:
    """(R, P) the share of each problem in each resample; what has equal ids is resampled alike."""
    rows_RP = problem_resamples(ids)
    resamples, problems = rows_RP.shape
    flat = (rows_RP + problems * np.arange(resamples)[:, None]).ravel()
    counts = np.bincount(flat, minlength=resamples * problems)
    return counts.reshape(resamples, problems) / problems


def intervals(values_PK: NDArray, ids: Sequence[str], shares: bool) -> list[Interval]:
    """95 % interval of each column's mean over problems, pointwise.

    Expanded percentile bootstrap (Hesterberg 2015), `RESAMPLES` resamples, seeded by the ids: two
    arms on the same problems are resampled in pairs. Where all problems have the same value, which
    a bootstrap cannot widen, Wilson's interval stands in for `shares`, and differences get none.
    Simulated coverage (300 data sets each, problems Beta-distributed in difficulty): of pass@k with
    1 to 64 samples 93-97 % at 100 and 300 problems, 90-96 % at 30; of paired differences 92-97 %.

    Args: values_PK: (P, K); shares: are these in [0, 1], or differences.
    """
    samples_RK = weights(tuple(ids)) @ values_PK
    found = []
    for k in range(values_PK.shape[1]):
        if np.ptp(values_PK[:, k]) == 0:
            found.append(mean_interval(values_PK[:, k]) if shares else UNBOUNDED)
        else:
            found.append(percentile_interval(samples_RK[:, k], len(ids)))
    return found


def over_seeds(values: Sequence[float], within: Interval | None, shares: bool) -> Estimate:
    """The mean of one value a seed: Student's t over seeds where there are several, otherwise the
    interval over problems, or none."""
    if len(values) < 2:
        return Estimate(float(values[0]), within, "problems" if within else "")
    low, high = seed_interval(values)
    if shares:  # Student's t knows nothing of their limits
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(float(np.mean(values)), (low, high), "seeds")
