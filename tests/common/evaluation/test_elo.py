"""Elo by maximum likelihood: known contestants are recovered; ends, counts and errors."""

import numpy as np
import pytest

from common.evaluation.elo import HIGHEST, LOWEST, elo_rating, solve_probability


def contest(rng, rating, problems=150, samples=8, noise=0.0):
    """Ratings, n and c of a simulated contestant; `noise`: of what a problem is to this one."""
    ratings = rng.integers(8, 36, problems) * 100
    seen = ratings + rng.normal(0, noise, problems)
    return ratings, [samples] * problems, rng.binomial(samples, solve_probability(rating, seen))


@pytest.mark.parametrize("rating, noise", [(900, 0.0), (1900, 0.0), (3300, 0.0), (1900, 300.0)])
def test_a_contestant_of_known_rating_is_inside_the_interval(rating, noise):
    """Of 100 simulated contestants 95 are wanted; 88 is three standard errors below that."""
    rng = np.random.default_rng([rating, int(noise)])
    found = [elo_rating(*contest(rng, rating, noise=noise)) for _ in range(100)]
    inside = np.mean([low <= rating <= high for _, low, high in found])
    assert inside > 0.88
    assert abs(np.mean([best for best, _, _ in found]) - rating) < 15
    assert all(low < best < high for best, low, high in found)


def test_the_interval_narrows_with_the_problems():
    rng = np.random.default_rng(1)
    few, many = (elo_rating(*contest(rng, 1500, problems)) for problems in (20, 2000))
    assert many[2] - many[1] < 0.2 * (few[2] - few[1])


def test_even_odds_give_the_problems_rating():
    best, low, high = elo_rating([1500] * 20, [8] * 20, [4] * 20)
    assert best == pytest.approx(1500) and best - low == pytest.approx(high - best)
    assert solve_probability(1900, [1500])[0] == pytest.approx(10 / 11)


def test_who_solves_all_or_nothing_has_one_end_only():
    ratings = [1000.0, 1500.0, 2000.0]
    best, low, high = elo_rating(ratings, [8] * 3, [8] * 3)
    assert best == high == HIGHEST and 1500 < low < HIGHEST
    best, low, high = elo_rating(ratings, [8] * 3, [0] * 3)
    assert best == low == LOWEST and LOWEST < high < 1500


@pytest.mark.parametrize(
    "arguments",
    [([1500], [1], [1]), ([1500, 1600], [1], [1]), ([1500, 1600], [1, 1], [2, 0])],
)
def test_counts_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match="^Elo: "):
        elo_rating(*arguments)
