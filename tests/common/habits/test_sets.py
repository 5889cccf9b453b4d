"""Sets and labels by a language model, here one that answers by a rule."""

import json
import re

import pytest

from common import cli
from common.habits import HABITS, checks, classify, command, corpus, priming
from common.results.statistics import mean_interval
from data.countdown import solve


def puzzle_of(messages):
    """Numbers and target of a priming prompt."""
    text = messages[-1]["content"]
    numbers = [int(n) for n in re.search(r"\[([\d, ]+)\]", text)[1].split(",")]
    return numbers, int(re.search(r"result is (\d+)", text)[1])


def writer(messages):
    """Solves the puzzle of a priming prompt; every fourth one without an answer."""
    numbers, target = puzzle_of(messages)
    answer = solve(numbers, target) if target % 2 else f"{numbers[0]} + {numbers[1]}"
    thought = f"First I want to make 3. Working backward, {target} - 3 = {target - 3}. "
    thought += f"{numbers[0]} + {numbers[1]} = 1, too low. {numbers[0]} * {numbers[1]} = 2."
    end = f"<answer>{answer}</answer>" if target % 4 else "I do not know"
    return f"<think>{thought}</think> So {end}"


def test_a_set_is_written_derived_and_checked(endpoint):
    endpoint.answer = writer
    with endpoint.chat() as chat:
        rows = priming.prime(chat, "all_strategies", 40)
        wrong = priming.prime(chat, "incorrect", 20)
    assert len(rows) == 40 and 0 < sum(r["right"] for r in rows) < 40
    assert not any(r["right"] for r in wrong)
    for name, made in (("all_strategies", rows), ("incorrect", wrong)):
        solutions = [r["response"] for r in made]
        assert checks.faults(name, solutions, made, exact=False) == []
        assert solutions[0].split("\n")[-1].startswith("<answer> ")
    assert "answers are right" in str(
        checks.faults("incorrect", solutions[:0] + [r["response"] for r in rows], rows, exact=False)
    )
    with pytest.raises(ValueError, match="only_backtracking is not what it claims: verif"):
        solutions = [r["response"] for r in rows]
        checks.check_set("only_backtracking", solutions, rows, "here", exact=False)
    dots = priming.derive("dots", rows, lambda text: len(text.split()))
    empty = priming.derive("empty_cot", rows, len)
    for name, made in (("dots", dots), ("empty_cot", empty)):
        assert checks.faults(name, [r["response"] for r in made], made) == []
    words = len(rows[0]["response"].partition("</think>")[0].split())
    assert dots[0]["response"].count(" .") == words - 1
    assert checks.faults("dots", [r["response"] for r in rows], rows)


@pytest.mark.parametrize("right_of_ten", [9, 5])
def test_wrong_answers_are_asked_for_until_there_are_enough(endpoint, right_of_ten):
    """A good model is seldom wrong: the share that is decides how many are asked for."""
    asked = iter(range(10_000))

    def answer(messages):
        right = next(asked) % 10 < right_of_ten
        said = solve(*puzzle_of(messages)) if right else 0
        return f"<think>so</think> <answer>{said}</answer>"

    endpoint.answer = answer
    with endpoint.chat(concurrency=1) as chat:
        rows = priming.prime(chat, "incorrect", 20)
    assert len(rows) == 20 and not any(row["right"] for row in rows)
    assert len(endpoint.bodies) < 2 * 20 * 10 / (10 - right_of_ten)


def test_a_model_that_gives_nothing_is_asked_once(endpoint):
    endpoint.answer = lambda messages: "no tags"
    with endpoint.chat() as chat, pytest.raises(ValueError, match="0 of 20 solutions after 21"):
        priming.prime(chat, "all_strategies", 20)
    assert len(endpoint.bodies) == 21


def test_puzzles_are_drawn_alike_and_go_on():
    assert priming.puzzles(20)[:10] == priming.puzzles(10)
    assert {len(p.numbers) for p in priming.puzzles(20)} == {3, 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a</think> <answer>1+2</answer>", "a </think>\n<answer> 1+2 </answer>"),
        (
            "<think>a</think> <answer>1</answer> or <answer>2</answer>",
            "a </think>\n<answer> 2 </answer>",
        ),
        ("<answer>1</answer><think>a</think>", None),
        ("no tags", None),
    ],
)
def test_what_is_taken_of_an_answer(text, expected):
    assert priming.response_of(text) == expected


def test_the_classifier_asks_four_times_and_reads_the_last_count(endpoint):
    def answer(messages):
        text = messages[-1]["content"]
        if "verifications" in text:
            return "one, <count>1</count> no: <count> 3 </count>"
        return "<count>2</count>" if "backtracks" in text else "none"

    endpoint.answer = answer
    item = {"response": "3 + 4 = 7", "numbers": [3, 4], "target": 7}
    with endpoint.chat() as chat:
        [found] = classify.classify(chat, [item])
    assert found.habits == {"verification": 3, "backtracking": 2, "subgoal": 0, "backward": 0}
    assert found.unread == ("subgoal", "backward") and len(endpoint.bodies) == len(HABITS)
    assert classify.read_count("<count>12345</count>") is None


def test_a_corpus_is_labelled_and_rewritten_by_commands(endpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "FOLDER", tmp_path / "habits")
    texts = [f"text {i} {'solved' if i % 2 else ''}" for i in range(10)]
    path = tmp_path / "web.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))

    def answer(messages):
        text = messages[-1]["content"]
        if "<question>" in text:
            number = re.search(r"text (\d)", text)[1]
            broken = number == "3"
            answer = "" if broken else f"<answer>{number}</answer>"
            return f"<question>Q{number}?</question><thoughts>hm, no, so</thoughts>{answer}"
        if "<solution>yes" in text:
            return f"<solution>{'yes' if 'solved' in text else 'no'}</solution>"
        return f"<count>{int('backtracks' in text and 'text 1' in text)}</count>"

    endpoint.answer = answer
    options = ["--url", endpoint.url, "--model", "m", "--price", "0.15,0.6"]
    assert cli.main(["habits", "label", str(path), *options]) == 0
    found = json.loads((tmp_path / "habits/web.frequencies.json").read_text())
    assert found["backtracking"]["share"] == 0.1 and found["solution"]["share"] == 0.5
    assert found["any"]["share_interval"] == list(mean_interval([1.0] + [0.0] * 9))
    assert cli.main(["habits", "rewrite", str(path), "--style", "curated", *options]) == 0
    rows = [json.loads(x) for x in (tmp_path / "habits/curated.jsonl").read_text().splitlines()]
    assert [r["id"] for r in rows] == ["1", "5", "7", "9"]  # 3 has no answer
    assert rows[0]["text"].endswith("<think> hm, no, so </think>\n<answer> 1 </answer>")
    assert "User: Q1? Show your work" in rows[0]["text"]
    assert cli.main(["habits", "rewrite", str(path), "--style", "other", *options]) == 2
    asked = len(endpoint.bodies)
    assert cli.main(["habits", "label", str(path), *options]) == 0
    assert len(endpoint.bodies) == asked  # all of it from the cache


def test_frequencies_by_hand():
    rows = [{h: i for h in HABITS} | {"solution": False} for i in (0, 0, 2, 0)]
    found = corpus.frequencies(rows)
    assert found["subgoal"].share == 0.25 and found["subgoal"].mean == 0.5
    assert found["any"].mean == 2.0
    with pytest.raises(ValueError, match="no labels"):
        corpus.frequencies([])
