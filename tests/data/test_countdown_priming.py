"""The builder of Countdown with a set made beforehand: what it refuses, and what is taught."""

import json

import pytest

from data import countdown_priming, dependencies
from data.parquet import prompt_row, read_parquet, write_parquet

OPTIONS = {
    "template": "countdown_raw",
    "train": [],
    "validation": [{"source": "countdown", "take": 1}],
    "tests": {},
    "made_in": "runs/habits",
}
GOLD = {"numbers": [3, 4, 2], "target": 14}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The repository's root elsewhere; published rows stand in for a download."""
    monkeypatch.setattr(countdown_priming, "ROOT", tmp_path)
    rows = [prompt_row("countdown", "?", {"numbers": [2, 3, 4], "target": 99}, "test", 0)]

    def build(folder, seed, **_):
        write_parquet(folder / "train.parquet", rows)

    monkeypatch.setattr(countdown_priming.from_sources, "build", build)
    monkeypatch.setattr(countdown_priming.from_sources, "prompt_rows", lambda *_: rows)
    (tmp_path / "runs/habits").mkdir(parents=True)
    return tmp_path


def write(place, name, rows):
    path = place / "runs/habits" / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def build(place, priming):
    countdown_priming.build(place / "data", 1, priming=priming, **OPTIONS)
    return read_parquet(place / "data" / f"{priming}.parquet", ("messages",))


def test_a_set_is_taught_behind_the_prompt_of_rl(place):
    response = "3 * 4 = 12. 3 + 4 = 7. 12 + 2 = 14. </think>\n<answer> 3 * 4 + 2 </answer>"
    tested = {"numbers": [4, 3, 2], "target": 99, "response": response}
    write(place, "only_backtracking", [GOLD | {"response": response}, tested])
    [row] = build(place, "only_backtracking")  # without the tested puzzle
    user, assistant = row["messages"]
    assert user["content"].endswith("step by step.\n<think>") and "[3, 4, 2]" in user["content"]
    assert assistant == {"role": "assistant", "content": response}


def test_a_text_is_taught_whole(place):
    write(place, "curated", [{"id": i, "text": f"User: Q{i}? <think> so </think>"} for i in "abc"])
    with pytest.raises(ValueError, match="minimized.jsonl: not made yet"):
        build(place, "curated")
    write(place, "minimized", [{"id": i, "text": f"User: Q{i}? <think> </think>"} for i in "cbd"])
    for style in ("curated", "minimized"):  # the same problems
        turns = [row["messages"] for row in build(place, style)]
        assert {turn[0]["content"].split("?")[0] for turn in turns} == {"User: Qb", "User: Qc"}
        assert {len(turn) for turn in turns} == {1} and turns[0][0]["role"] == "assistant"
    write(place, "minimized", [{"id": "d", "text": "User: Qd? <think> </think>"}])
    with pytest.raises(ValueError, match="rewrite one corpus"):
        build(place, "curated")


def test_what_is_refused(place):
    with pytest.raises(ValueError, match="runs/habits/dots.jsonl: not made yet"):
        build(place, "dots")
    with pytest.raises(ValueError, match="recipe.warmups.priming.text=dot:"):
        build(place, "dot")
    write(place, "dots", [GOLD | {"response": "so </think>\n<answer> 3 * 4 + 2 </answer>"}])
    with pytest.raises(ValueError, match="dots is not what it claims: 1 thoughts have words"):
        build(place, "dots")


def test_the_key_of_the_data_has_the_sets_content(place, monkeypatch):
    monkeypatch.setattr(dependencies, "relative", lambda path: path.name)
    options = OPTIONS | {"priming": "dots"}
    inputs = lambda: dependencies.inputs("countdown_priming", options)  # noqa: E731
    assert inputs()["file dots.jsonl"] is None
    write(place, "dots", [{"a": 1}])
    first = inputs()["file dots.jsonl"]
    write(place, "dots", [{"a": 2}])
    assert first and inputs()["file dots.jsonl"] not in (first, None)
    options["priming"] = None
    assert not [key for key in inputs() if key.startswith("file ")]
