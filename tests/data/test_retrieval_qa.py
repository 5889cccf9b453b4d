"""The retrieval QA generator: answers proven from the prompt's text, shares, refusals."""

import json
import random

import pytest

from common.rewards.registry import get_grader
from data.retrieval_qa import World, sample_problem, worked_answer

ATTRIBUTES = {
    "age": ["1", "2", "3"],
    "pet": ["cat", "dog", "hen"],
    "job": ["cook", "clerk", "miner"],
    "tea": ["mint", "rose", "lime"],
}
WORLD = {"attributes": ATTRIBUTES, "passages": 3, "refusal": "none", "unanswerable": 0.4}
VALUES = [value for values in ATTRIBUTES.values() for value in values]


def answers_in(prompt):
    """All answers that the prompt's text gives to its question, by a search of the text itself."""
    *passages, question = prompt.split("\n")
    return [p.split()[1] for p in passages if p.split()[0] == question.removesuffix("?")]


@pytest.fixture(scope="module")
def problems():
    rng = random.Random(0)
    return [sample_problem(rng, World(**WORLD)) for _ in range(3000)]


def test_the_answer_is_in_one_passage_or_in_none(problems):
    for problem in problems:
        gold = json.loads(problem.ground_truth("none"))
        assert answers_in(problem.prompt) == ([gold["answer"]] if gold["answer"] else [])
        assert len(problem.prompt.split("\n")) == 4 and gold["query"] in problem.prompt


def test_the_strict_grader_takes_the_right_response_and_no_other(problems):
    grade = get_grader("kbqa_strict").grade
    for problem in problems[:100]:
        best = (answers_in(problem.prompt) or ["none"])[0]
        for response in ["none", *VALUES, f"{best} {best}0", f"{best} none", problem.prompt]:
            verdict = grade({"response": response, "gold": problem.ground_truth("none")})
            assert (verdict.score == 1) == (response == best)


def test_worked_answers_are_right_and_noise_is_a_value_that_was_told(problems):
    rng = random.Random(1)
    for problem in problems:
        right = (answers_in(problem.prompt) or ["none"])[0]
        assert worked_answer(rng, problem, "none", 0.0) == right
    noisy = [(p, worked_answer(rng, p, "none", 0.3)) for p in problems]
    lies = [(p, r) for p, r in noisy if r != (p.answer or "none")]
    assert all(r in p.prompt.split() for p, r in lies)
    # of an answerable question a told value is the right one a third of the time
    assert len(lies) / len(noisy) == pytest.approx(0.3 * (0.4 + 0.6 * 2 / 3), abs=0.03)


def test_shares_are_those_asked_for_and_places_are_uniform(problems):
    answered = [p for p in problems if p.answer]
    assert 1 - len(answered) / 3000 == pytest.approx(0.4, abs=0.03)
    first = sum(p.passages[0][0] == p.attribute for p in answered)
    assert first / len(answered) == pytest.approx(1 / 3, abs=0.04)


def test_problems_in_another_order_are_the_same():
    rng = random.Random(2)
    problem = sample_problem(rng, World(**WORLD))
    other = type(problem)(problem.passages[::-1], problem.attribute)
    assert other.key == problem.key and other.prompt != problem.prompt


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"passages": 4}, "4 passages"),
        ({"passages": 1}, "1 passages"),
        ({"unanswerable": 1.5}, "unanswerable"),
        ({"attributes": ATTRIBUTES | {"age": ["1"]}}, "2 values"),
        ({"attributes": ATTRIBUTES | {"age": ["1", "dog"]}}, "'dog' is there twice"),
        ({"refusal": "dog"}, "'dog' is there twice"),
        ({"refusal": "no, sir"}, "a-z"),
    ],
)
def test_an_impossible_world_is_refused_in_one_line(change, word):
    with pytest.raises(ValueError, match=rf"^recipe.data.options.questions[^\n]*{word}[^\n]*$"):
        World(**(WORLD | change))
