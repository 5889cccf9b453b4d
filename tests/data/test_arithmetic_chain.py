"""The arithmetic-chain generator: right answers, disjoint splits, byte-stable files."""

import random
from operator import add, mul, sub

import pytest

from data import arithmetic_chain as chain
from tests.data.built import check_seeds, content_sha256, prompts, taught

SMALL = {
    "operations": 4,
    "modulus": 10,
    "train": 200,
    "validation": 40,
    "test": 60,
    "sft": 100,
    "sft_noisy": 400,
    "noise": 0.08,
}


def work_out(prompt):
    """The answer by a second, independent method: a running value over the characters."""
    value, rest = int(prompt[0]), prompt[1:-1]
    for operator, digit in zip(rest[::2], rest[1::2], strict=True):
        value = {"+": add, "-": sub, "*": mul}[operator](value, int(digit)) % 10
    return str(value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("chains")
    chain.build(path, 1, **SMALL)
    return path


def test_every_answer_is_right_and_every_step_true(folder):
    for split in ("train", "validation", "test"):
        for prompt, answer in prompts(folder, split):
            assert len(prompt) == 10
            assert work_out(prompt) == answer
    for prompt, solution in taught(folder, "sft"):
        assert solution.endswith(f"={work_out(prompt)};")
        for step in solution.split(";")[:-1]:
            left, result = step.split("=")
            assert work_out(f"{left}=") == result


def test_no_problem_is_in_two_splits(folder):
    train, validation, test = (
        {p for p, _ in prompts(folder, s)} for s in ("train", "validation", "test")
    )
    learnt = {p for name in ("sft", "sft_noisy") for p, _ in taught(folder, name)}
    assert (len(train), len(validation), len(test)) == (200, 40, 60)
    assert not test & (train | validation | learnt)
    assert not validation & (train | learnt)


def test_noise_resamples_about_its_share_of_digits(folder):
    digits = changed = 0
    for prompt, noisy in taught(folder, "sft_noisy"):
        parsed = chain.Chain(tuple(int(c) for c in prompt[0:-1:2]), prompt[1:-1:2])
        clean, _ = parsed.solution(10)
        pairs = [(a, b) for a, b in zip(clean, noisy, strict=True) if a.isdigit()]
        digits += len(pairs)
        changed += sum(a != b for a, b in pairs)
    # a resampled digit stays the same one time in ten
    assert changed / digits == pytest.approx(0.08 * 0.9, abs=0.012)


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path, folder):
    check_seeds(chain.build, SMALL, folder, tmp_path)


def test_golden_content(folder):
    """What committed records were trained and judged on must never change."""
    golden = "8fcb4eee1b7a26d7f5cfc42d21d24fd97b152493db188ead13c50144caeeb6af"
    assert content_sha256(folder) == golden


@pytest.mark.parametrize("change", [{"operations": 1, "train": 9000}, {"modulus": 11}])
def test_an_impossible_request_is_refused_in_one_line(tmp_path, change):
    with pytest.raises(ValueError, match="recipe.data.options") as error:
        chain.build(tmp_path, 1, **(SMALL | change))
    assert "\n" not in str(error.value)


def test_samples_are_uniform_over_operators():
    rng = random.Random(0)
    operators = "".join(chain.sample_chain(rng, 4, 10).operators for _ in range(3000))
    for operator in "+-*":
        assert operators.count(operator) / len(operators) == pytest.approx(1 / 3, abs=0.02)
