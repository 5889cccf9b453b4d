"""A contestant's Elo rating from the ratings of the problems that it solved and did not solve."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats  # type: ignore[import-untyped]

LEVEL = 0.95
LOWEST, HIGHEST = 0.0, 5000.0  # a rating outside is given as its end
_SCALE = np.log(10) / 400


def solve_probability(rating: float, problems_P: ArrayLike) -> NDArray[np.float64]:
    """(P,) Elo's chance against each problem: 1 / (1 + 10^((problem - rating) / 400)).

    On CodeForces a problem's rating is that of contestants who solve it with probability 1/2.
    """
    return 1 / (1 + np.exp((np.asarray(problems_P, dtype=float) - rating) * _SCALE))


def elo_rating(problems_P: ArrayLike, n: ArrayLike, c: ArrayLike) -> tuple[float, float, float]:
    """The rating of maximum likelihood, and the two ends of its 95 % interval.

    Every sample counts as one attempt. The interval is that of the likelihood ratio, with the
    logarithm of the likelihood divided by the dispersion sum((c - n p)^2) / sum(n p (1 - p)) where
    that is above 1 (samples of one problem are alike), and Student's t for its P - 1 degrees of
    freedom. Where problems are easier or harder for this contestant than their ratings say, a
    rating far from most of the problems' is drawn towards them. A contestant who solves all or
    nothing has no finite rating: the value and one end of the interval are then HIGHEST or LOWEST.

    Args: problems_P: (P,) ratings; n: (P,) samples; c: (P,) correct ones, 0 <= c <= n.
    Raises: ValueError for fewer than two problems, shapes that differ, or counts that are none.
    """
    ratings_P = np.asarray(problems_P, dtype=float)
    n_P, c_P = np.asarray(n, dtype=float), np.asarray(c, dtype=float)
    if not (ratings_P.ndim == 1 and ratings_P.shape == n_P.shape == c_P.shape):
        raise ValueError("Elo: give one rating, n and c for each problem")
    if ratings_P.size < 2 or not np.isfinite(ratings_P).all():
        raise ValueError("Elo: at least two problems with ratings are wanted")
    if bool(((c_P < 0) | (c_P > n_P) | (n_P < 1)).any()):
        raise ValueError("Elo: a problem has n < 1, c < 0 or c > n")

    def surplus(rating: float) -> float:
        return float((c_P - n_P * solve_probability(rating, ratings_P)).sum())

    def log_likelihood(rating: float) -> float:
        away_P = (ratings_P - rating) * _SCALE
        solved, not_solved = -np.logaddexp(0, away_P), -np.logaddexp(0, -away_P)
        return float((c_P * solved + (n_P - c_P) * not_solved).sum())

    if surplus(LOWEST) <= 0:
        best = LOWEST
    elif surplus(HIGHEST) >= 0:
        best = HIGHEST
    else:
        best = float(optimize.brentq(surplus, LOWEST, HIGHEST))
    chance_P = solve_probability(best, ratings_P)
    information = float((n_P * chance_P * (1 - chance_P)).sum())
    spread = float(((c_P - n_P * chance_P) ** 2).sum())
    dispersion = max(1.0, spread / information) if 0 < c_P.sum() < n_P.sum() else 1.0
    allowed = dispersion * float(stats.t.ppf((1 + LEVEL) / 2, ratings_P.size - 1)) ** 2
    top = log_likelihood(best)

    def beyond(rating: float) -> float:
        return 2 * (top - log_likelihood(rating)) - allowed

    low = LOWEST if beyond(LOWEST) <= 0 else float(optimize.brentq(beyond, LOWEST, best))
    high = HIGHEST if beyond(HIGHEST) <= 0 else float(optimize.brentq(beyond, best, HIGHEST))
    return best, low, high
