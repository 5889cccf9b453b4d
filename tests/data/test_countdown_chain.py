"""The chain generator: solvable problems, right solutions, disjoint splits, byte-stable files."""

import hashlib
import json
import random

import pytest

from common.rewards.countdown_chain import NUMBERS, grade
from data import countdown_chain as chains
from tests.data.built import check_seeds, prompts, taught

SMALL = {
    "counts": [3, 4],
    "largest": 9,
    "operators": "+-*",
    "train": 200,
    "validation": 40,
    "test": 60,
    "sft": 100,
    "sft_noisy": 400,
    "noise": 0.08,
}
GOLDEN_FIRST = ("①②④=③:", {"numbers": [1, 2, 4], "target": 3})
GOLDEN = "1e3d2ed08b94a769"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("chains")
    chains.build(path, 1, **SMALL)
    return path


def problems(folder, split):
    return [(prompt, json.loads(truth)) for prompt, truth in prompts(folder, split)]


def asked(prompt):
    """(numbers, sorted; target), read off the prompt."""
    numbers, target = prompt.removesuffix(":").split("=")
    return tuple(sorted(map(NUMBERS.index, numbers))), NUMBERS.index(target)


def test_prompts_ask_what_the_gold_says(folder):
    for split in ("train", "validation", "test"):
        for prompt, gold in problems(folder, split):
            assert asked(prompt) == (tuple(gold["numbers"]), gold["target"])
            assert len(gold["numbers"]) in (3, 4) and 1 <= gold["target"] <= 50


def test_every_taught_solution_is_right(folder):
    for prompt, solution in taught(folder, "sft"):
        numbers, target = asked(prompt)
        gold = {"numbers": list(numbers), "target": target}
        assert grade({"response": solution, "gold": gold}).score == 1


def test_no_problem_is_in_two_splits(folder):
    train, validation, test = (
        {asked(p) for p, _ in problems(folder, s)} for s in ("train", "validation", "test")
    )
    shown = {asked(p) for name in ("sft", "sft_noisy") for p, _ in taught(folder, name)}
    assert (len(train), len(validation), len(test)) == (200, 40, 60)
    assert not (test | validation) & (train | shown) and not test & validation


def test_noise_resamples_about_its_share_of_numbers():
    rng = random.Random(0)
    numbers = changed = 0
    for _ in range(2000):
        chain = chains.draw(rng, [4], 9, "+-*")
        pairs = list(zip(chain.solution(), chain.solution(rng, 0.08), strict=True))
        numbers += sum(a in NUMBERS for a, _ in pairs)
        changed += sum(a != b for a, b in pairs)
        assert all(a == b for a, b in pairs if a not in NUMBERS)
    # a resampled number stays the same one time in 51
    assert changed / numbers == pytest.approx(0.08 * 50 / 51, abs=0.008)


def test_problems_have_many_solutions():
    """What pass@k at this scale lives from: the same problem is drawn with other solutions."""
    rng, found = random.Random(0), {}
    for _ in range(60_000):
        chain = chains.draw(rng, [3], 9, "+-*")
        found.setdefault(chain.identity, set()).add(chain.solution())
    mean = sum(map(len, found.values())) / len(found)
    assert mean > 2.4  # with four numbers more


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path, folder):
    check_seeds(chains.build, SMALL, folder, tmp_path)


def test_golden(folder):
    """The held-out problems of published records must never change."""
    assert problems(folder, "test")[0] == GOLDEN_FIRST
    text = json.dumps(problems(folder, "validation") + problems(folder, "test"))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": [1]}, "counts"),
        ({"largest": 51}, "largest"),
        ({"operators": "+/"}, "operators"),
        ({"counts": [2], "largest": 2}, "more than the options allow"),
    ],
)
def test_an_impossible_request_is_refused_in_one_line(tmp_path, change, words):
    with pytest.raises(ValueError, match=f"recipe.data.options.*{words}") as error:
        chains.build(tmp_path, 1, **(SMALL | change))
    assert "\n" not in str(error.value)
