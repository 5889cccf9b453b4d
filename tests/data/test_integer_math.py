"""The hub builder, on rows of the hub's schema (the hub itself is not needed)."""

import pytest

from data import integer_math
from data.parquet import MESSAGE_COLUMNS, PROMPT_COLUMNS, read_parquet

WRAPPED = (
    "Solve the following math problem step by step. The last line of your response should be of "
    "the form Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n"
    "{}\n\nRemember to put your answer on its own line after \"Answer:\"."
)
REVISIONS = dict.fromkeys(
    (integer_math.TRAIN, integer_math.AIME_2024, integer_math.LIMO), "main"
)


@pytest.fixture
def hub(monkeypatch):
    dapo = [
        {
            "prompt": [{"role": "user", "content": WRAPPED.format(f"What is {i}+{i}?")}],
            "reward_model": {"ground_truth": str(2 * i) if i else "no integer"},
        }
        for i in range(6)
    ] * 3
    tables = {
        integer_math.TRAIN: dapo,
        integer_math.AIME_2024: [{"problem": "Find x.", "answer": "073"}],
        integer_math.LIMO: [{"question": "1+1?", "solution": "so \\boxed{2}", "answer": "2"}],
    }
    monkeypatch.setattr(integer_math, "hub_rows", lambda name, revisions: tables[name])


def test_problems_are_unwrapped_deduplicated_and_kept_apart(hub, tmp_path):
    integer_math.build(tmp_path, 1, validation=2, revisions=REVISIONS)
    read = {s: read_parquet(tmp_path / f"{s}.parquet", PROMPT_COLUMNS) for s in ("train", "test")}
    validation = read_parquet(tmp_path / "validation.parquet", PROMPT_COLUMNS)
    # six problems, each three times on the hub; the one without an integer answer is left out
    assert (len(read["train"]), len(validation)) == (3, 2)
    content = validation[0]["prompt"][0]["content"]
    assert content.endswith("\n\nWhat is 1+1?")
    assert "\\boxed{}" in content and "Remember" not in content
    assert read["test"][0]["reward_model"]["ground_truth"] == "73"
    messages = read_parquet(tmp_path / "sft.parquet", MESSAGE_COLUMNS)[0]["messages"]
    assert messages[1] == {"role": "assistant", "content": "so \\boxed{2}"}


def test_too_few_problems_and_a_missing_revision_are_refused(hub, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="fewer than validation=9"):
        integer_math.build(tmp_path, 1, validation=9, revisions=REVISIONS)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="no revision for GAIR/LIMO"):
        integer_math.hub_rows(integer_math.LIMO, {})
