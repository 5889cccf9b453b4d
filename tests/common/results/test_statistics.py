"""Intervals: agreement with scipy, simulated coverage, pairing of resamples."""

import numpy as np
import pytest
from scipy import stats

from common.evaluation.pass_at_k import pass_at_k
from common.results import statistics


@pytest.mark.parametrize(("correct", "n"), [(0, 30), (1, 30), (117, 200), (200, 200), (1, 1)])
def test_mean_interval_of_right_or_wrong_is_wilsons(correct: int, n: int) -> None:
    wanted = stats.binomtest(correct, n).proportion_ci(method="wilson")
    found = statistics.mean_interval([1.0] * correct + [0.0] * (n - correct))
    assert found == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert found[0] <= correct / n <= found[1]


@pytest.mark.parametrize(
    ("a", "b", "samples", "k"),
    [(2, 2, 1, 1), (2, 2, 8, 1), (1, 4, 16, 1), (0.5, 0.5, 16, 8), (1, 8, 64, 64), (0.3, 6, 1, 1)],
)
def test_mean_interval_covers_the_truth(a: float, b: float, samples: int, k: int) -> None:
    """93-97 % at 200 problems whose difficulty is Beta(a, b)."""
    draw = np.random.default_rng(7)
    counts = np.arange(samples + 1)
    by_count = pass_at_k([samples] * len(counts), counts, k)
    truth = float(stats.betabinom.pmf(counts, samples, a, b) @ by_count)
    runs = 1_500
    correct = draw.binomial(samples, draw.beta(a, b, (runs, 200)))
    ends = [statistics.mean_interval(by_count[row]) for row in correct]
    covered = np.mean([low <= truth <= high for low, high in ends])
    assert 0.93 <= covered <= 0.97, covered


def test_mean_interval_refuses() -> None:
    for values in ([], [0.5, 1.1], [-0.1], [np.nan]):
        with pytest.raises(ValueError, match="at least one per-problem estimate"):
            statistics.mean_interval(values)


def test_seed_interval_is_students_t() -> None:
    values = [0.61, 0.66, 0.70]
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert statistics.seed_interval(values) == pytest.approx((wanted.low, wanted.high))
    assert statistics.seed_interval([0.5, 0.5]) == (0.5, 0.5)
    with pytest.raises(ValueError, match="needs two seeds, got 1"):
        statistics.seed_interval([0.5])


def test_problem_resamples_pair_equal_problems_only() -> None:
    ids = [f"p{i}" for i in range(50)]
    first, again = statistics.problem_resamples(ids), statistics.problem_resamples(list(ids))
    other = statistics.problem_resamples([f"q{i}" for i in range(50)])
    assert first.shape == (statistics.RESAMPLES, 50) and first.min() == 0 and first.max() == 49
    assert (first == again).all() and not (first == other).all()


def test_paired_resampling_is_narrower_than_unpaired() -> None:
    draw = np.random.default_rng(3)
    difficulty = draw.beta(1, 1, 300)
    first = draw.binomial(8, difficulty) / 8
    second = draw.binomial(8, difficulty) / 8
    rows = statistics.problem_resamples([f"p{i}" for i in range(300)])
    others = statistics.problem_resamples([f"q{i}" for i in range(300)])
    paired = (first[rows] - second[rows]).mean(axis=1).std()
    unpaired = (first[rows].mean(axis=1) - second[others].mean(axis=1)).std()
    assert paired == pytest.approx((first - second).std() / np.sqrt(300), rel=0.1)
    assert paired < 0.7 * unpaired


def test_step_resamples_are_whole_blocks() -> None:
    rows = statistics.step_resamples(50)
    block = statistics.block_length(50)
    assert rows.shape == (statistics.RESAMPLES, 50) and block == 8
    assert rows.min() == 0 and rows.max() == 49
    inside = np.arange(1, 50) % block != 0
    assert (np.diff(rows, axis=1)[:, inside] == 1).all()
    assert (statistics.step_resamples(50) == rows).all()


def test_curve_interval_covers_an_autocorrelated_curve() -> None:
    """AR(1) noise with correlation .5, where resampling single steps covers about 70 %."""
    draw, runs, length, correlation = np.random.default_rng(11), 400, 100, 0.5
    noise = draw.normal(size=(runs, length + 100))
    for t in range(1, noise.shape[1]):
        noise[:, t] += correlation * noise[:, t - 1]
    curves = noise[:, 100:]
    ends = [statistics.curve_interval(curve) for curve in curves]
    covered = np.mean([low <= 0 <= high for low, high in ends])
    assert 0.90 <= covered <= 0.97, covered
    single = np.random.default_rng(0).integers(0, length, (500, length))
    naive = [np.quantile(c[single].mean(axis=1), [0.025, 0.975]) for c in curves]
    assert np.mean([low <= 0 <= high for low, high in naive]) < 0.8


def test_percentile_interval_widens_for_few_units_and_gives_up_below_two() -> None:
    samples = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    many, few = (statistics.percentile_interval(samples, u) for u in (1e6, 6))
    assert many == pytest.approx((-1.96, 1.96), abs=0.01)
    # Student's t with 5 degrees of freedom, and the variance of 6 values taken as if by n - 1
    assert few == pytest.approx((-2.571 * (6 / 5) ** 0.5, 2.571 * (6 / 5) ** 0.5), abs=0.01)
    assert statistics.percentile_interval(samples, 1.5) == (-np.inf, np.inf)
    assert statistics.percentile_interval([1.0, np.nan], 100) == (-np.inf, np.inf)
    assert statistics.percentile_interval([np.inf] * 100, 100) == (np.inf, np.inf)
    assert statistics.curve_interval([0.3]) == (-np.inf, np.inf)
