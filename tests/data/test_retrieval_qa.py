"""The retrieval QA generator: answers proven from the prompt's text, splits, stable bytes."""

import json
import random
import re

import pytest

from common.rewards.registry import get_grader
from data import retrieval_qa as qa
from tests.data.built import check_seeds, content_sha256, prompts, taught

SMALL = {
    "letters": "abkmtu",
    "name_length": 2,
    "attributes": ["age", "pet", "job", "car"],
    "values": list("0123456789"),
    "refusal": "none",
    "passages": 3,
    "facts": 2,
    "unanswerable": 0.4,
    "train": 300,
    "validation": 60,
    "test": 80,
    "sft": 100,
    "sft_noisy": 400,
    "noise": 0.3,
}
WORLD = qa.World("abkmtu", 2, ("age", "pet", "job", "car"), tuple("0123456789"), "none", 3, 2, 0.4)


def answers_in(prompt):
    """All answers that the prompt's text gives to its question, by a search of the text itself."""
    *passages, question = prompt.split("\n")
    name, attribute = re.fullmatch(r"(\w+) (\w+)\?", question).groups()
    return [
        found
        for passage in passages
        if passage.startswith(f"{name}: ")
        for found in re.findall(rf"\b{attribute} (\w+)", passage)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("retrieval")
    qa.build(path, 1, **SMALL)
    return path


def test_the_answer_is_in_one_passage_or_in_none(folder):
    for split in ("train", "validation", "test"):
        kinds = set()
        for prompt, truth in prompts(folder, split):
            gold, found = json.loads(truth), answers_in(prompt)
            assert found == ([] if gold["answer"] is None else [gold["answer"]])
            name = gold["query"].split()[0]
            kinds.add((gold["answer"] is None, f"{name}: " in prompt))
            asked = gold["query"].split()[1][:-1]
            tellers = [p for p in prompt.split("\n")[:-1] if f"{asked} " in p]
            assert len(tellers) >= 1 + bool(found)  # somebody else's is a distractor
        assert kinds == {(False, True), (True, True), (True, False)}


def test_the_strict_grader_takes_the_right_response_and_no_other(folder):
    grade = get_grader("kbqa_strict").grade
    for prompt, truth in prompts(folder, "test"):
        best = (answers_in(prompt) or ["none"])[0]
        for response in ["none", *"0123456789", f"{best} {best}0", f"{best} none", prompt]:
            verdict = grade({"response": response, "gold": truth})
            assert (verdict.score == 1) == (response == best)


def test_taught_responses_are_right_and_noise_is_a_value_that_was_told(folder):
    for prompt, response in taught(folder, "sft"):
        assert response == (answers_in(prompt) or ["none"])[0]
    noisy = taught(folder, "sft_noisy")
    lies = [(p, r) for p, r in noisy if r != (answers_in(p) or ["none"])[0]]
    assert all(re.search(rf" {r}\b", p) for p, r in lies)
    assert 0.17 < len(lies) / len(noisy) < 0.33  # a told value may be the right one
    assert any(not answers_in(p) for p, _ in lies)


def canonical(prompt):
    *passages, question = prompt.split("\n")
    parts = (p.partition(": ") for p in passages)
    return frozenset((n, frozenset(facts.split(", "))) for n, _, facts in parts), question


def test_no_problem_is_in_two_splits_not_even_in_another_order(folder):
    train, validation, test = (
        {canonical(p) for p, _ in prompts(folder, s)} for s in ("train", "validation", "test")
    )
    learnt = {canonical(p) for n in ("sft", "sft_noisy") for p, _ in taught(folder, n)}
    assert (len(train), len(validation), len(test)) == (300, 60, 80)
    assert not test & (train | validation | learnt)
    assert not validation & (train | learnt)


def test_shares_are_those_asked_for():
    rng = random.Random(0)
    problems = [qa.sample_problem(rng, WORLD) for _ in range(3000)]
    unanswerable = [p for p in problems if p.answer is None]
    assert len(unanswerable) / 3000 == pytest.approx(0.4, abs=0.03)
    own = sum(p.name in dict(p.passages) for p in unanswerable)
    assert own / len(unanswerable) == pytest.approx(0.5, abs=0.05)
    first = sum(p.passages[0][0] == p.name for p in problems if p.answer)
    assert first / (3000 - len(unanswerable)) == pytest.approx(1 / 3, abs=0.04)


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path, folder):
    check_seeds(qa.build, SMALL, folder, tmp_path)


def test_golden_content(folder):
    golden = "b6e52e8c00dc7535ee4e6605118b1fb9feaed5777e360da8d3ea72be2e64df51"
    assert content_sha256(folder) == golden


@pytest.mark.parametrize(
    "change",
    [
        {"facts": 4},
        {"passages": 1},
        {"letters": "a"},
        {"unanswerable": 1.5},
        {"values": ["7"]},
        {"refusal": "7"},
        {"refusal": "no, sir"},
        {"values": ["0", "1"], "letters": "ab", "passages": 2, "facts": 1, "train": 6000},
    ],
)
def test_an_impossible_request_is_refused_in_one_line(tmp_path, change):
    with pytest.raises(ValueError, match=r"^recipe.data.options[^\n]*$"):
        qa.build(tmp_path, 1, **(SMALL | change))
