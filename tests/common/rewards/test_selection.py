"""Which samples are kept and what they earn, against NumPy in float64 and by brute force."""

import itertools
import random
from functools import partial

import numpy as np
import pytest

from common.rewards.selection import EPSILON, Selection

RNG = np.random.default_rng(7)
GROUPS = [RNG.standard_normal(16) * 10.0**k for k in (-3, 0, 3)] + [
    RNG.integers(0, 2, 16).astype(float)
]


def never():
    raise AssertionError("no draw is wanted")


def extremes(normalise, lowest=2, highest=2):
    return Selection("extremes", normalise, lowest=lowest, highest=highest)


@pytest.mark.parametrize("scores", GROUPS)
def test_the_two_lowest_and_the_two_highest_with_either_order_of_normalising(scores):
    order = np.argsort(scores, kind="stable")
    expected = np.sort(np.r_[order[:2], order[-2:]])
    for normalise, over in (("before", scores), ("after", scores[expected])):
        chosen = extremes(normalise)
        kept = chosen.keep(scores.tolist(), never)
        assert kept == expected.tolist()
        z = (scores[expected] - over.mean()) / (over.std(ddof=1) + EPSILON)
        np.testing.assert_allclose(chosen.rewards(scores.tolist(), kept), z, rtol=0, atol=1e-12)
    assert extremes("never").rewards(scores.tolist(), kept) == scores[expected].tolist()


def test_the_order_of_normalising_matters():
    scores = [float(i) for i in range(16)]
    kept = extremes("before").keep(scores, never)
    before, after = (
        extremes("before").rewards(scores, kept),
        extremes("after").rewards(scores, kept),
    )
    assert max(before) > 1.5 > max(after)  # the middle that is left out makes the deviation larger


def test_the_largest_variance_is_that_of_all_subsets():
    for _ in range(20):
        scores = np.round(RNG.standard_normal(8), 1).tolist()
        chosen = Selection("max_variance", "before", count=4)
        kept = chosen.keep(scores, never)
        best = max(np.var(subset) for subset in itertools.combinations(scores, 4))
        assert len(kept) == 4 and np.var([scores[i] for i in kept]) == pytest.approx(best)
    rare = [1.0] + [0.0] * 15  # one right answer: three wrong ones go with it
    assert sum(rare[i] for i in Selection("max_variance", "never", count=4).keep(rare, never)) == 1


def test_the_others():
    scores = [3.0, 1.0, 2.0]
    assert Selection("all", "before").keep(scores, never) == [0, 1, 2]
    chosen = Selection("random", "never", count=2)
    draws = [chosen.keep(scores, partial(random.Random, k)) for k in "ab"]
    assert all(len(set(kept)) == 2 and kept == sorted(kept) for kept in draws)
    assert extremes("before").keep(scores, never) == [0, 1, 2]  # a group smaller than what is kept
    assert extremes("before").rewards([0.7] * 16, [0, 1, 14, 15]) == [0.0] * 4
    assert extremes("after").rewards([0.0] * 4 + [1.0], [4]) == [0.0]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rule": "best"}, "rule: 'best' is not one of"),
        ({"normalise": "no"}, "normalise: 'no' is not one of"),
        ({}, "keeps nothing; set highest, lowest"),
        ({"lowest": -1, "highest": 2}, "lowest=-1"),
        ({"count": 4, "lowest": 2}, "count=4: with rule extremes"),
        ({"rule": "random", "lowest": 2}, "lowest=2: with rule random"),
    ],
)
def test_wrong_values_are_named(values, says):
    with pytest.raises(ValueError, match=says):
        Selection(**{"rule": "extremes", "normalise": "before"} | values)


def test_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="keeps 4 of the actor_rollout_ref.rollout.n=3"):
        extremes("before").check(3)
    extremes("before").check(4)
