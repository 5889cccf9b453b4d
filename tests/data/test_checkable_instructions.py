"""The generator of checkable instructions: solvable by brute force, splits, stable bytes."""

import itertools
import random
from collections import Counter

import pytest

from common.rewards.registry import get_grader
from data import checkable_instructions as ci
from tests.data.built import check_seeds, content_sha256, prompts, taught

SMALL = {
    "alphabet": "abcdkqz",
    "letters": 6,
    "words": 3,
    "constraints": 3,
    "train": 300,
    "validation": 60,
    "test": 80,
    "sft": 100,
    "sft_noisy": 300,
    "noise": 0.2,
}


def meets(prompt, text):
    """Whether a text does what the prompt says, read from the prompt's own words."""
    words, letters = text.split(), Counter(text.replace(" ", ""))
    for part in prompt.rstrip(":").split(", "):
        match part.split():
            case ["max", n, "words"]:
                met = len(words) <= int(n)
            case [n, "words"]:
                met = len(words) == int(n)
            case ["no", letter]:
                met = letters[letter] == 0
            case ["start", letter]:
                met = words[0][0] == letter
            case ["end", letter]:
                met = words[-1][-1] == letter
            case [n, letter]:
                met = letters[letter] == int(n)
            case _:
                raise AssertionError(part)
        if not met:
            return False
    return True


def texts(alphabet, letters, words):
    """All texts of up to `letters` letters in up to `words` words."""
    for size in range(1, letters + 1):
        for word in itertools.product(alphabet, repeat=size):
            for cuts in range(min(words, size)):
                for places in itertools.combinations(range(1, size), cuts):
                    edges = (0, *places, size)
                    spans = itertools.pairwise(edges)
                    yield " ".join("".join(word[a:b]) for a, b in spans)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("instructions")
    ci.build(path, 1, **SMALL)
    return path


def test_brute_force_finds_a_solution_and_none_shorter_than_ours():
    rng, grade = random.Random(5), get_grader("checkable").grade
    every = sorted(texts("abk", 4, 2), key=len)
    for _ in range(150):
        problem = ci.sample_problem(rng, "abk", 4, 2, rng.randint(1, 5))
        right = [t for t in every if meets(problem.prompt, t)]
        assert right
        solution = problem.solution()
        assert meets(problem.prompt, solution)
        assert len(solution) == len(right[0])
        longer = problem.solution(3)
        least = [t for t in right if len(t.replace(" ", "")) >= 3] or [solution]
        assert meets(problem.prompt, longer) and len(longer) == len(least[0])
        wrong = rng.sample(every, 60)
        for text in [solution, *right[:20], *wrong]:
            verdict = grade({"response": text, "gold": problem.ground_truth})
            assert (verdict.score == 1) == meets(problem.prompt, text)


def test_every_problem_of_every_file_is_solved_by_its_solution(folder):
    grade = get_grader("checkable").grade
    for prompt, solution in taught(folder, "sft"):
        assert meets(prompt, solution)
    rng = random.Random(3)
    for _ in range(3000):
        problem = ci.sample_problem(rng, "abcdkqz", 6, 3, rng.randint(1, 5))
        solution = problem.solution()
        assert meets(problem.prompt, solution) and len(solution) <= problem.longest
        longer = problem.solution(6)
        assert meets(problem.prompt, longer) and len(longer) <= problem.longest
        assert grade({"response": solution, "gold": problem.ground_truth}).score == 1


def test_no_problem_is_in_two_splits_not_even_in_another_order(folder):
    def canonical(prompt):
        return frozenset(prompt.rstrip(":").split(", "))

    train, validation, test = (
        {canonical(p) for p, _ in prompts(folder, s)} for s in ("train", "validation", "test")
    )
    learnt = {canonical(p) for n in ("sft", "sft_noisy") for p, _ in taught(folder, n)}
    assert (len(train), len(validation), len(test)) == (300, 60, 80)
    assert not test & (train | validation | learnt)
    assert not validation & (train | learnt)


def test_noise_makes_some_solutions_wrong(folder):
    noisy = taught(folder, "sft_noisy")
    wrong = sum(not meets(prompt, text) for prompt, text in noisy)
    assert 0.1 < wrong / len(noisy) < 0.6


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path, folder):
    check_seeds(ci.build, SMALL, folder, tmp_path)


def test_golden_content(folder):
    golden = "5a2e9aa71d0e20124d96df188baecd03523d8e751f4e551089e3f9235ec78d46"
    assert content_sha256(folder) == golden


@pytest.mark.parametrize(
    "change",
    [
        {"alphabet": "aab"},
        {"alphabet": "ab"},
        {"alphabet": "a b"},
        {"constraints": 6},
        {"letters": 0},
        {"alphabet": "abk", "constraints": 1, "train": 1000},
    ],
)
def test_an_impossible_request_is_refused_in_one_line(tmp_path, change):
    with pytest.raises(ValueError, match=r"^recipe.data.options[^\n]*$"):
        ci.build(tmp_path, 1, **(SMALL | change))
