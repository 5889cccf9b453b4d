"""Preferences: the better answer is better by its signal, held out prompts, stable bytes."""

import random
from collections import Counter

import pytest

from common.rewards.registry import get_grader
from data import checkable_instructions, preferences
from data.parquet import read_parquet

SMALL = {
    "alphabet": "abcdkqz",
    "letters": 6,
    "words": 3,
    "constraints": 3,
    "train": 200,
    "validation": 40,
    "noise": 0.4,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preferences")
    preferences.build(folder, 1, **SMALL)
    names = ("preferences", "preferences_validation")
    return {
        n: read_parquet(folder / f"{n}.parquet", ("chosen", "rejected", "signal")) for n in names
    }


def test_the_chosen_answer_is_better_by_the_grader(rows):
    rng, problems = random.Random(1), {}
    # the prompts again, with their constraints: a file of preferences has texts alone
    options = [SMALL[k] for k in ("alphabet", "letters", "words", "constraints")]
    while len(problems) < 3000:
        problem = checkable_instructions.sample_problem(rng, *options)
        problems.setdefault(problem.prompt, problem)
    seen = Counter()
    grade = get_grader("checkable").grade
    for row in rows["preferences"]:
        (asked, better), (same, worse) = row["chosen"], row["rejected"]
        assert asked == same and asked["role"] == "user" and better["role"] == "assistant"
        problem = problems.get(asked["content"])
        if problem is None:
            continue
        share = [
            grade({"response": answer["content"], "gold": problem.ground_truth}).details
            for answer in (better, worse)
        ]
        first, second = (s["followed_share"] for s in share)
        shorter = len(better["content"]) < len(worse["content"])
        assert first > second if row["signal"] == "follows" else first == second and shorter
        seen[row["signal"]] += 1
    assert min(seen[signal] for signal in preferences.SIGNALS) > 20


def test_validation_prompts_are_the_same_for_every_seed_and_in_no_training_file(rows, tmp_path):
    preferences.build(tmp_path, 2, **SMALL)
    other = read_parquet(tmp_path / "preferences_validation.parquet", ("chosen",))
    assert other == rows["preferences_validation"]
    learnt = {row["chosen"][0]["content"] for row in rows["preferences"]}
    assert not learnt & {row["chosen"][0]["content"] for row in other}
    again = read_parquet(tmp_path / "preferences.parquet", ("chosen",))
    assert again != rows["preferences"]


def test_answers_that_cannot_differ_are_refused(tmp_path):
    with pytest.raises(ValueError, match="differ by follows; raise letters, words or noise"):
        problem = checkable_instructions.Problem("ab", 4, (("start", "a"),))
        preferences.preferences(random.Random(0), [problem], lambda _: problem, 0.0)
