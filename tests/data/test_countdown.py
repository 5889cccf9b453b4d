"""The Countdown generator: brute force agrees, splits are disjoint, draws stable, as TinyZero's."""

import hashlib
import itertools
import json
import operator
import random
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from common.rewards.registry import get_grader
from data import countdown, prompts
from data.micro_task import draw_distinct
from data.parquet import PROMPT_COLUMNS, read_parquet
from tests.data.built import check_seeds

TINYZERO = Path("../shared/data/countdown")
SMALL = {"train": 150, "validation": 30, "test": 40}
SPACE = countdown.Space((3, 4), 99, (10, 100), True)
OPERATIONS = [operator.add, operator.sub, operator.mul, operator.truediv]


def draws(seed, count, space=SPACE):
    rng = random.Random(seed)
    return draw_distinct(rng, count, space.draw, lambda puzzle: puzzle.identity)


def brute_force(numbers, whole):
    """Every value of every expression: take any two values, put what they make in their place."""
    if len(numbers) == 1:
        return {numbers[0]}
    found = set()
    for i, j in itertools.permutations(range(len(numbers)), 2):
        rest = [n for k, n in enumerate(numbers) if k not in (i, j)]
        for operation in OPERATIONS:
            if operation is operator.truediv and numbers[j] == 0:
                continue
            value = operation(Fraction(numbers[i]), numbers[j])
            if not whole or value.denominator == 1:
                found |= brute_force([*rest, value], whole)
    return found


@pytest.mark.parametrize("whole", [True, False])
def test_the_search_finds_exactly_what_brute_force_finds(whole):
    rng = random.Random(5)
    for count, repeats in ((2, 40), (3, 30), (4, 1 if not whole else 3)):
        for _ in range(repeats):
            numbers = [1 + rng.randrange(12) for _ in range(count)]
            reached = brute_force(numbers, whole)
            for target in range(1, 120):
                found = countdown.solve(numbers, target, integers_only=whole)
                assert (found is not None) == (target in reached), (numbers, target)


def test_every_puzzle_is_solvable_and_its_solution_is_right():
    grader = get_grader("countdown_strict")
    puzzles = draws(1, 200)
    for puzzle in puzzles:
        solution = countdown.solve(puzzle.numbers, puzzle.target, integers_only=True)
        row = {"response": f"<answer>{solution}</answer>", "gold": puzzle.gold}
        assert grader.grade(row).score == 1.0, (puzzle, solution)
    for puzzle in [p for p in puzzles if len(p.numbers) == 3][:40] + puzzles[:4]:
        assert puzzle.target in brute_force(puzzle.numbers, True)


@pytest.mark.parametrize(
    ("numbers", "target", "solution"),
    [
        ([44, 19, 35], 98, "44 + 35 + 19"),
        ([5, 5, 1, 5], 24, "5 * (5 - 1 / 5)"),
        ([3, 3, 8, 8], 24, "8 / (3 - 8 / 3)"),
        ([1, 2], 7, None),
        ([7], 7, "7"),
    ],
)
def test_solutions(numbers, target, solution):
    assert countdown.solve(numbers, target) == solution


def test_whole_numbers_only():
    for numbers in ([5, 5, 1, 5], [3, 3, 8, 8]):
        assert countdown.solve(numbers, 24, integers_only=True) is None
    fractions = countdown.Space((4,), 9, (24, 24), False)
    puzzles = draws(2, 60, fractions)
    whole = [countdown.solve(p.numbers, p.target, integers_only=True) for p in puzzles]
    assert 0 < sum(solution is None for solution in whole) < 12
    assert all(countdown.solve(p.numbers, p.target) for p in puzzles)


def test_draws_are_stable_and_differ_by_seed():
    """The same puzzles for ever and on every Python: the sha256 of their golds."""
    golds = json.dumps([puzzle.gold for puzzle in draws(1, 300)])
    assert hashlib.sha256(golds.encode()).hexdigest() == (
        "f378530a5337f700b665a09ab8bf08191724599ea8db90d21bd0a39ec20b2503"
    )
    assert draws(1, 20) == draws(1, 20) != draws(2, 20)


def chi_square(left, right):
    """Of two samples of the same categories."""
    total = sum(left.values()) + sum(right.values())
    statistic = 0.0
    for category in {*left, *right}:
        for sample in (left, right):
            expected = (left[category] + right[category]) * sum(sample.values()) / total
            statistic += (sample[category] - expected) ** 2 / expected
    return statistic


@pytest.mark.skipif(not TINYZERO.exists(), reason="TinyZero's puzzles are not here")
def test_distribution_is_that_of_tinyzero():
    lines = (TINYZERO / "tinyzero_train.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    theirs = [countdown.Puzzle(tuple(row["nums"]), row["target"]) for row in rows]
    for count in (3, 4):
        ours = draws(3, 1500, countdown.Space((count,), 99, (10, 100), True))
        other = [p for p in theirs if len(p.numbers) == count]
        for name, categories, limit in [
            ("numbers by tens", lambda p: [n // 10 for n in p.numbers], 27.9),
            ("small numbers", lambda p: [min(n, 10) for n in p.numbers], 27.9),
            ("targets by tens", lambda p: [min(p.target, 99) // 10], 26.1),
            ("largest number", lambda p: [max(p.numbers) // 10], 27.9),
            ("equal numbers", lambda p: [len(set(p.numbers))], 13.8),
        ]:
            samples = [Counter(c for p in part for c in categories(p)) for part in (ours, other)]
            # the limits are exceeded by chance once in a thousand samples
            assert chi_square(*samples) < limit, (count, name)


@pytest.mark.skipif(not TINYZERO.exists(), reason="TinyZero's puzzles are not here")
def test_tinyzero_puzzles_are_solvable_in_whole_numbers():
    for line in (TINYZERO / "tinyzero_test.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert countdown.solve(row["nums"], row["target"], integers_only=True), row


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("countdown")
    countdown.build(path, 1, **SMALL)
    return path


def puzzles_of(folder, split):
    rows = read_parquet(folder / f"{split}.parquet", PROMPT_COLUMNS)
    golds = [json.loads(row["reward_model"]["ground_truth"]) for row in rows]
    return rows, [countdown.Puzzle(tuple(g["numbers"]), g["target"]) for g in golds]


def test_files(folder):
    identities = Counter()
    for split, count in SMALL.items():
        rows, puzzles = puzzles_of(folder, split)
        assert len(rows) == count
        for index, (row, puzzle) in enumerate(zip(rows, puzzles, strict=True)):
            template = prompts.load("countdown_raw")
            assert row["prompt"] == template.render(puzzle.gold)
            assert str(list(puzzle.numbers)) in row["prompt"][0]["content"]
            extra = {"split": split, "index": index, "template": template.label}
            assert (row["data_source"], row["extra_info"]) == ("countdown", extra)
            assert 10 <= puzzle.target <= 100 and len(puzzle.numbers) in (3, 4)
            assert all(1 <= number <= 99 for number in puzzle.numbers)
        identities.update(puzzle.identity for puzzle in puzzles)
    assert max(identities.values()) == 1  # no puzzle twice, in one split or two, in any order


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path, folder):
    check_seeds(countdown.build, SMALL, folder, tmp_path)


def test_options(tmp_path):
    options = {"counts": [3], "largest": 9, "targets": [5, 12], "integers_only": False}
    countdown.build(tmp_path, 1, **SMALL, **options)
    for split in SMALL:
        for puzzle in puzzles_of(tmp_path, split)[1]:
            assert len(puzzle.numbers) == 3 and max(puzzle.numbers) <= 9
            assert 5 <= puzzle.target <= 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"counts": []}, "counts"),
        ({"counts": [1]}, "counts"),
        ({"counts": [7]}, "counts"),
        ({"largest": 0}, "largest"),
        ({"targets": [10]}, "targets"),
        ({"targets": [100, 10]}, "targets"),
        ({"targets": [0, 10]}, "targets"),
        ({"counts": [2], "largest": 2, "targets": [50, 50]}, "50 is reached"),
        ({"counts": [2], "largest": 3, "targets": [2, 3]}, "different problems"),
        ({"template": "countdown_rwa"}, "countdown_raw"),
    ],
)
def test_wrong_options_are_named_in_one_line(tmp_path, options, message):
    with pytest.raises(ValueError, match=message) as error:
        countdown.build(tmp_path, 1, **(SMALL | options))
    assert "\n" not in str(error.value)
