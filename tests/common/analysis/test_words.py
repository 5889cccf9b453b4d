"""Thinking words: what counts as one, and the interval of a difference of mean rewards."""

import numpy as np
import pytest
from scipy import stats

from common.analysis import words
from common.analysis.words import FEWEST, THINKING, Sample, cells, contrast, finder, words_in
from common.results.statistics import UNBOUNDED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wait, let us see. WAIT", {"wait"}),
        ("I await the waiter", set()),
        ("Let\u2019s verify; let's go", {"let's", "verify"}),
        ("re-evaluate and reevaluate", {"re-evaluate", "reevaluate"}),
        ("rechecked, verifying", set()),
        ("double-check it yet again", {"check", "yet"}),
        ("recheck", {"recheck"}),
        ("等wait好", {"wait"}),
        ("", set()),
    ],
)
def test_a_word_is_a_whole_word_in_any_case(text, expected):
    assert words_in(text, finder(THINKING)) == expected


def test_words_of_ones_own_may_be_symbols():
    assert words_in("2+2=5 ✗ .", finder(["✗", ".", "="])) == {"✗", ".", "="}
    assert words_in("我再检查一下", finder(["检查", "等等"])) == {"检查"}


def test_with_one_response_a_problem_it_is_welchs_interval():
    draw = np.random.default_rng(2)
    rewards, present = draw.normal(size=60), draw.random(60) < 0.3
    found = contrast(rewards, present, np.arange(60))
    welch = stats.ttest_ind(rewards[present], rewards[~present], equal_var=False)
    expected = welch.confidence_interval()
    assert found.difference.value == pytest.approx(
        rewards[present].mean() - rewards[~present].mean()
    )
    assert found.difference.interval == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.same_problem is None and found.problems_with_both == 0


def test_copies_of_a_response_add_no_certainty():
    draw = np.random.default_rng(4)
    rewards, present = draw.normal(size=60), draw.random(60) < 0.4
    once = contrast(rewards, present, np.arange(60))
    copies = contrast(np.tile(rewards, 5), np.tile(present, 5), np.tile(np.arange(60), 5))
    assert copies.difference.interval == pytest.approx(once.difference.interval, abs=1e-12)
    assert copies.n_with == 5 * once.n_with


def test_by_hand():
    # problem 0: with 1, without 0; problem 1: with 0 and 1, without 1; problem 2: without 0
    rewards = np.array([1.0, 0, 0, 1, 1, 0])
    present = np.array([True, False, True, True, False, False])
    found = contrast(rewards, present, np.array([0, 0, 1, 1, 1, 2]))
    assert (found.n_with, found.n_without) == (3, 3)
    assert found.mean_with == pytest.approx(2 / 3) and found.mean_without == pytest.approx(1 / 3)
    assert found.difference.value == pytest.approx(1 / 3)
    assert found.difference.interval == UNBOUNDED  # two problems have the word
    assert found.problems_with_both == 2
    assert found.same_problem.value == pytest.approx((1 + (0.5 - 1)) / 2)
    assert cells(found)[:2] == ["3", "3"] and "no interval" in cells(found)[4]


def test_a_word_that_never_or_always_occurs_has_no_difference():
    rewards, problems = np.array([1.0, 0.0]), np.array([0, 1])
    never = contrast(rewards, np.array([False, False]), problems)
    assert (never.mean_with, never.mean_without, never.difference) == (None, 0.5, None)
    always = contrast(rewards, np.array([True, True]), problems)
    assert (always.mean_with, always.mean_without) == (0.5, None)
    assert cells(always) == ["2", "0", "0.5", "-", "-", "-"]


def test_harder_problems_that_provoke_the_word_do_not_bias_the_same_problem_difference():
    draw = np.random.default_rng(6)
    hard = np.repeat(draw.random(400) < 0.5, 8)
    present = draw.random(3200) < np.where(hard, 0.8, 0.2)
    rewards = (draw.random(3200) < np.where(hard, 0.3, 0.8)).astype(float)
    found = contrast(rewards, present, np.repeat(np.arange(400), 8))
    assert found.difference.interval[1] < -0.2  # the word marks hard problems
    low, high = found.same_problem.interval
    assert low < 0 < high


def test_coverage_with_problems_of_like_rewards():
    draw = np.random.default_rng(8)
    covered = 0
    for _ in range(200):
        easy = np.repeat(draw.beta(0.7, 0.7, 100), 8)
        present = draw.random(800) < 0.05
        rewards = (draw.random(800) < easy).astype(float)
        found = contrast(rewards, present, np.repeat(np.arange(100), 8))
        low, high = found.difference.interval
        covered += low <= 0 <= high
    assert 180 <= covered <= 199


def test_a_sample_keeps_equal_ids_of_two_seeds_apart():
    sample = Sample(["wait"])
    for seed in (1, 2):
        sample.add(seed, [{"id": "a", "response": "wait" * (seed == 1), "reward": seed}])
    found = sample.contrasts()["wait"]
    assert (found.mean_with, found.mean_without) == (1.0, 2.0)
    assert found.problems_with_both == 0 and FEWEST > 1


def test_the_figure_grows_in_rows_with_the_benchmarks():
    shown = {f"kk_{n}": {"reinforce_pp": {}, "rft": {}} for n in range(12)} | {"aime": {"rft": {}}}
    made = words.draw(shown, THINKING, "title")
    assert [a.get_title() for a in made.axes if a.get_visible()][-3:] == [
        "kk_11: reinforce_pp",
        "kk_11: rft",
        "aime: rft",
    ]
    assert made.get_figwidth() < 12 and made.get_figheight() * 110 < 2**16  # pixels of a PNG
