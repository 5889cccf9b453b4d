"""Traces in symbols: solved as asked, with exactly the asked habits, and read alike in words."""

import json
import random
import re

import pytest

from common.habits import HABITS
from common.habits.rules import count
from common.rewards.countdown import grade_strict
from common.rewards.verdict import Outcome
from data import countdown_habits
from data.habit_traces import (
    ALPHABET,
    SETS,
    Habits,
    attempts,
    dotted,
    draw,
    emptied,
    expand,
    in_symbols,
    trace,
)
from data.parquet import read_parquet

LIMIT = 58


def puzzles(n, seed=1):
    rng = random.Random(seed)
    return [draw(rng, 20, (10, 50)) for _ in range(n)]


@pytest.mark.parametrize("name", SETS)
def test_a_set_has_its_habits_and_no_others(name):
    habits, rng = SETS[name], random.Random(7)
    seen = dict.fromkeys(HABITS, 0)
    for puzzle in puzzles(200):
        text = trace(rng, puzzle, habits, LIMIT)
        assert len(text) <= LIMIT and set(text) <= set(ALPHABET)
        graded = grade_strict({"response": expand(text), "gold": puzzle.gold})
        assert (graded.outcome is Outcome.CORRECT) == habits.solved
        # by the symbols themselves, and by the rules on the words: the same numbers
        marks = {
            "verification": len(re.findall("[<>!]", text)),
            "backtracking": text.count("~"),
            "subgoal": text.count("@"),
            "backward": text.count("?"),
        }
        found = count(expand(text), puzzle.target)
        assert found["backtracking"] <= marks.pop("backtracking")  # a try may go on from a result
        assert {h: found[h] for h in marks} == marks
        for habit in HABITS:
            assert getattr(habits, habit) or not found[habit]
            seen[habit] += found[habit] > 0
    assert all(seen[h] > 100 for h in HABITS if getattr(habits, h)), seen


def test_every_verdict_and_calculation_is_true():
    rng = random.Random(3)
    for puzzle in puzzles(100):
        words = expand(trace(rng, puzzle, SETS["all_strategies"], LIMIT))
        for left, sign, right, result in re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)", words):
            a, b, c = int(left), int(right), int(result)
            assert {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[sign] == c
        for result, remark in re.findall(r"= (\d+)\. That is (too low|too high|the target)", words):
            order = (int(result) > puzzle.target) - (int(result) < puzzle.target)
            assert remark == ("the target", "too high", "too low")[order]


def test_thoughts_emptied_and_dotted_keep_the_answer_and_the_length():
    rng = random.Random(5)
    for puzzle in puzzles(20):
        text = trace(rng, puzzle, SETS["all_strategies"], LIMIT)
        thought, answer = text.split("]")
        assert emptied(text) == f"]{answer}"
        assert dotted(text) == "." * (len(thought) - 1) + f"]{answer}"
        assert not any(count(expand(dotted(text)), puzzle.target).values())


def test_in_words():
    text = "③+②=⑤+④=⑨<~?⑭-②=⑫@⑫③*④=⑫+②=⑭!]{③*④+②}"
    assert expand(text) == (
        "3 + 2 = 5, 5 + 4 = 9. That is too low. Let me try another way. Working from the target, "
        "14 - 2 = 12. First I want to make 12. 3 * 4 = 12, 12 + 2 = 14. That is the target.</think>"
        "\n<answer> (3 * 4) + 2 </answer>"
    )
    assert expand("③+") == "3+" and expand("]{③}") == "</think>\n<answer> 3 </answer>"
    assert in_symbols("") and in_symbols(text) and not in_symbols("3 + 2") and not in_symbols(None)


def test_all_attempts_of_three_numbers_by_brute_force():
    found = {(a.numbers, a.signs) for a in attempts((2, 3, 4))}
    values = sorted({a.results[1] for a in attempts((2, 3, 4))})
    assert values == sorted({r for n, s in found for r in [_value(n, s)] if 0 <= r <= 50})
    assert ((4, 3, 2), ("-", "+")) in found and ((3, 4, 2), ("-", "+")) not in found


def _value(numbers, signs):
    value = numbers[0]
    for sign, number in zip(signs, numbers[1:], strict=True):
        value = {"+": value + number, "-": value - number, "*": value * number}[sign]
    return value


OPTIONS = {
    "largest": 20,
    "targets": [10, 50],
    "longest": LIMIT,
    "train": 40,
    "validation": 5,
    "test": 10,
    "sft": 60,
    "sft_noisy": 20,
    "noise": 0.05,
    "primed": 120,
}


def test_the_builder_writes_a_file_for_every_set(tmp_path):
    countdown_habits.build(tmp_path / "a", 1, **OPTIONS)
    countdown_habits.build(tmp_path / "b", 2, **OPTIONS)
    names = {p.stem for p in (tmp_path / "a").glob("*.parquet")}
    assert {*SETS, "empty_cot", "dots", "curated", "minimized", "sft", "sft_noisy"} <= names
    test = (tmp_path / "a" / "test.parquet").read_bytes()
    assert test == (tmp_path / "b" / "test.parquet").read_bytes()
    held = {
        r["prompt"][0]["content"] for r in read_parquet(tmp_path / "a/test.parquet", ("prompt",))
    }
    for name in (*SETS, "dots", "empty_cot", "sft"):
        rows = read_parquet(tmp_path / "a" / f"{name}.parquet", ("messages",))
        asked = {row["messages"][0]["content"].partition("[")[0] + "[" for row in rows}
        assert not asked & held
    for name in ("curated", "minimized"):  # whole texts: every token is taught
        rows = read_parquet(tmp_path / "a" / f"{name}.parquet", ("messages",))
        assert {len(row["messages"]) for row in rows} == {1}
        texts = [row["messages"][0]["content"].partition("[")[2] for row in rows]
        found = [sum(count(expand(text)).values()) for text in texts]
        assert all(found) if name == "curated" else not any(found)
    gold = read_parquet(tmp_path / "a/train.parquet", ("reward_model",))[0]["reward_model"]
    assert set(json.loads(gold["ground_truth"])) == {"numbers", "target"}


def test_a_solver_that_cheats_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setitem(SETS, "only_backtracking", Habits(verification=True, backtracking=True))
    with pytest.raises(ValueError, match="only_backtracking is not what it claims: verification"):
        countdown_habits.build(tmp_path, 1, **OPTIONS)
