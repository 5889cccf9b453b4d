"""The arithmetic-chain generator: right answers, disjoint splits, byte-stable files."""

import random
from operator import add, mul, sub

import pytest

from data import arithmetic_chain as chain
from data.parquet import MESSAGE_COLUMNS, PROMPT_COLUMNS, read_parquet

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


def prompts(folder, split):
    rows = read_parquet(folder / f"{split}.parquet", PROMPT_COLUMNS)
    return [(r["prompt"][0]["content"], r["reward_model"]["ground_truth"]) for r in rows]


def test_every_answer_is_right_and_every_step_true(folder):
    for split in ("train", "validation", "test"):
        for prompt, answer in prompts(folder, split):
            assert len(prompt) == 10
            assert work_out(prompt) == answer
    for row in read_parquet(folder / "sft.parquet", MESSAGE_COLUMNS):
        prompt, solution = (m["content"] for m in row["messages"])
        assert solution.endswith(f"={work_out(prompt)};")
        for step in solution.split(";")[:-1]:
            left, result = step.split("=")
            assert work_out(f"{left}=") == result


def test_no_problem_is_in_two_splits(folder):
    train, validation, test = (
        {p for p, _ in prompts(folder, s)} for s in ("train", "validation", "test")
    )
    taught = {
        row["messages"][0]["content"]
        for name in ("sft", "sft_noisy")
        for row in read_parquet(folder / f"{name}.parquet", MESSAGE_COLUMNS)
    }
    assert (len(train), len(validation), len(test)) == (200, 40, 60)
    assert not test & (train | validation | taught)
    assert not validation & (train | taught)


def test_noise_resamples_about_its_share_of_digits(folder):
    digits = changed = 0
    for row in read_parquet(folder / "sft_noisy.parquet", MESSAGE_COLUMNS):
        prompt, noisy = (m["content"] for m in row["messages"])
        parsed = chain.Chain(tuple(int(c) for c in prompt[0:-1:2]), prompt[1:-1:2])
        clean, _ = parsed.solution(10)
        pairs = [(a, b) for a, b in zip(clean, noisy, strict=True) if a.isdigit()]
        digits += len(pairs)
        changed += sum(a != b for a, b in pairs)
    # a resampled digit stays the same one time in ten
    assert changed / digits == pytest.approx(0.08 * 0.9, abs=0.012)


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path, folder):
    chain.build(tmp_path / "again", 1, **SMALL)
    chain.build(tmp_path / "other", 2, **SMALL)
    for path in folder.glob("*.parquet"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / "other" / "test.parquet").read_bytes() == (
        folder / "test.parquet"
    ).read_bytes()
    assert prompts(tmp_path / "other", "train") != prompts(folder, "train")


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
