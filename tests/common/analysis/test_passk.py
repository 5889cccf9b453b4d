"""pass@k curves: exact values, pairing, gap, crossover and matched pairs."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from common.analysis.passk import (
    Curve,
    analyse,
    benchmarks,
    curve,
    efficiency_gap,
    k_grid,
    matched,
    overtaken_at,
    shared,
)
from common.analysis.runs import select
from common.results.statistics import UNBOUNDED


def counts(c, n=4, ids=None):
    return {"id": ids or [str(i) for i in range(len(c))], "n": [n] * len(c), "c": c}


def constant(values, seeds=(1,), problems=50):
    """A model whose every problem has these pass@k."""
    return Curve(
        tuple(map(str, range(problems))), {s: np.tile(values, (problems, 1)) for s in seeds}
    )


@pytest.mark.parametrize(
    ("samples", "expected"), [(1, [1]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_the_grid_ends_at_the_number_of_samples(samples, expected):
    assert k_grid(samples) == expected


def test_a_curve_is_the_mean_of_exact_hypergeometric_probabilities():
    n, c, ks = 12, [0, 1, 3, 7, 12], k_grid(12)
    found = curve({1: counts(c, n)}, ks, "x").mean.mean(axis=0)
    exact = [sum(1 - Fraction(comb(n - right, k), comb(n, k)) for right in c) / len(c) for k in ks]
    assert found == pytest.approx([float(e) for e in exact], abs=1e-15)


def test_problems_are_matched_by_id_whatever_their_order():
    arm = curve({1: counts([4, 2, 0], ids=["a", "b", "c"])}, [1], "x")
    base = curve({1: counts([0, 1, 2], ids=["c", "b", "a"])}, [1], "x")
    assert (arm - base).mean[:, 0].tolist() == [0.5, 0.25, 0.0]


def test_seeds_with_other_problems_are_refused():
    with pytest.raises(ValueError, match="seeds 1 and 2 have other problems"):
        curve({1: counts([1]), 2: counts([1], ids=["z"])}, [1], "x")


def test_a_difference_is_over_common_seeds_only():
    difference = constant([0.75], seeds=(1, 2)) - constant([0.25], seeds=(2, 3))
    assert list(difference.seeds) == [2]
    assert difference.summary(shares=False)[0].interval == UNBOUNDED  # all problems alike
    with pytest.raises(ValueError, match="common seed"):
        constant([0.5], seeds=(1,)) - constant([0.5], seeds=(2,))


def test_pairing_removes_what_the_problems_have_in_common():
    draw = np.random.default_rng(3)
    easy = draw.random(200)
    ids = tuple(map(str, range(200)))
    base = Curve(ids, {1: easy[:, None]})
    arm = Curve(ids, {1: (easy + draw.normal(0.1, 0.01, 200))[:, None]})
    low, high = (arm - base).bands(shares=False)[0]
    assert low < 0.1 < high and high - low < 0.005
    low, high = base.bands()[0]
    assert high - low > 0.05


def test_overtaken_at_the_first_k_behind_of_an_arm_that_led():
    ks = [1, 2, 4, 8]
    assert overtaken_at(np.array([0.2, 0.1, -0.01, -0.1]), ks) == 4
    assert overtaken_at(np.array([0.2, 0.1, 0.0, 0.1]), ks) is None
    assert overtaken_at(np.array([-0.1, -0.2, -0.3, -0.4]), ks) is None


def test_efficiency_gap_by_hand():
    base = curve({1: counts([0, 4, 1, 0])}, [1, 4], "x")  # pass@4: 0, 1, 1, 0
    arm = curve({1: counts([1, 2, 4, 0])}, [1, 4], "x")  # pass@1: 1/4, 1/2, 1, 0
    assert efficiency_gap(arm, base).value == pytest.approx(0.5 - 1.75 / 4)


def test_matched_are_the_pairs_within_the_tolerance():
    models = {"a": constant([0.5, 0.9]), "b": constant([0.51, 0.7]), "c": constant([0.6, 0.7])}
    (pair,) = matched(models, tolerance=0.02)
    assert pair["models"] == ("a", "b")
    assert pair["at_1"].value == pytest.approx(-0.01) and pair["at_K"].value == pytest.approx(0.2)


def test_arms_of_one_base_share_its_curve_and_others_have_their_own(recipe):
    (selection,) = select(recipe.name, [], responses=False)
    found = {b.name: b for b in benchmarks(selection, ["test", "swapped"])}
    assert set(found) == {"test", "swapped"} and found["test"].ks == [1, 2, 4, 8]
    assert list(found["test"].models) == ["before RL", "nsr", "psr"]
    assert shared(selection) == (["swapped", "test"], [])
    selection.runs[0].problems["test@base"]["c"][0] ^= 1
    found = {b.name: b for b in benchmarks(selection, ["test", "swapped"])}
    assert list(found["test"].models) == ["before RL, nsr", "before RL, psr", "nsr", "psr"]
    assert found["test"].bases["psr"].ids == found["test"].models["before RL, psr"].ids


def test_a_benchmark_that_every_seed_has_of_its_own_is_left_out_and_named(recipe):
    (selection,) = select(recipe.name, [], responses=False)
    selection.runs[0].problems["test"]["id"][0] = "another"
    assert shared(selection) == (["swapped"], ["test"])
    assert "seeds have other problems: test." in analyse(selection).notes[-1]
    selection.runs[0].problems["swapped"]["id"][0] = "another"
    with pytest.raises(ValueError, match="swapped, test: seeds have other problems"):
        shared(selection)
