"""Word problems: answers follow from the text, solutions are right, held-out problems are new."""

import hashlib
import random
import re
from fractions import Fraction

import pytest

from data import word_problems
from data.parquet import MESSAGE_COLUMNS, PROMPT_COLUMNS, read_parquet
from data.word_problems import build, sample_problem

OPTIONS = {
    "calculations": [1, 4], "largest": 60, "train": 300, "validation": 40, "test": 60, "sft": 80,
}  # fmt: skip
TEXT_COLUMNS = ("prompt", "markup", "reasoning", "answer")  # of common/plugin/sft_dataset.py
# of seed 3
GOLDEN = "46e31de9c2ee2264ab03fb0e29c18400c1e76c32173fef9017dd5b2fa1963d1a"
SENTENCES = (
    (r"(\w+) has (\d+) (\w+)", lambda v, k: k),
    (r"\w+ buys (\d+) boxes of (\d+) \w+", lambda v, k, m: v + k * m),
    (r"\w+ buys (\d+) \w+", lambda v, k: v + k),
    (r"\w+ gives (\d+) \w+ to \w+", lambda v, k: v - k),
    (r"\w+ wins until there are (\d+) times as many", lambda v, k: v * k),
    (r"\w+ puts them in (\d+) equal bags and keeps one bag", lambda v, k: v / k),
)


def read_and_solve(text):
    """The answer from the sentences alone, by a reader that shares nothing with the generator."""
    *sentences, question = text.split(". ")
    assert re.fullmatch(r"How many \w+ does \w+ have\?", question)
    value = Fraction(0)
    for sentence in sentences:
        for pattern, effect in SENTENCES:
            match = re.fullmatch(pattern, sentence)
            if match:
                value = effect(value, *map(Fraction, re.findall(r"\d+", sentence)))
                break
        else:
            raise AssertionError(sentence)
        assert value >= 1 and value.denominator == 1
    return value


def test_answers_follow_from_the_text():
    rng = random.Random(7)
    calculations = set()
    for _ in range(2000):
        problem = sample_problem(rng, (1, 4), 60)
        lines, answer = problem.work()
        assert read_and_solve(problem.text) == answer
        calculations.add(len(lines))
        for line in lines:
            left, sign, right, result = re.fullmatch(r"(\d+)([-+*/])(\d+)=(\d+)", line).groups()
            exact = Fraction(left) / int(right) if sign == "/" else None
            done = {"+": int(left) + int(right), "-": int(left) - int(right)}
            assert int(result) == (exact or done.get(sign) or int(left) * int(right))
            assert 1 <= int(result) <= 60
    assert calculations == {1, 2, 3, 4}


def without_names(text):
    return re.sub("|".join(word_problems.NAMES + word_problems.THINGS), "_", text)


def test_files_are_apart_and_the_held_out_ones_equal_for_every_seed(tmp_path):
    texts = {}
    for seed in (1, 2):
        build(tmp_path / str(seed), seed, **OPTIONS, sft_noisy=50, noise=0.5)
        for name in ("train", "validation", "test"):
            rows = read_parquet(tmp_path / str(seed) / f"{name}.parquet", PROMPT_COLUMNS)
            assert len(rows) == OPTIONS[name]
            assert all(
                read_and_solve(r["prompt"][-1]["content"]) == int(r["reward_model"]["ground_truth"])
                for r in rows
            )
            texts[seed, name] = {without_names(r["prompt"][-1]["content"]) for r in rows}
            assert len(texts[seed, name]) == len(rows)
        for name in ("sft", "sft_noisy"):
            rows = read_parquet(tmp_path / str(seed) / f"{name}.parquet", MESSAGE_COLUMNS)
            texts[seed, name] = {without_names(r["messages"][0]["content"]) for r in rows}
            right = [
                int(r["messages"][1]["content"].rpartition("#### ")[2])
                == read_and_solve(r["messages"][0]["content"])
                for r in rows
            ]
            assert all(right) if name == "sft" else 0 < sum(right) < len(right)
    for name in ("validation", "test"):
        assert texts[1, name] == texts[2, name]
        for seed in (1, 2):
            for other in ("train", "sft", "sft_noisy"):
                assert not texts[1, name] & texts[seed, other]
    assert not texts[1, "validation"] & texts[1, "test"]
    assert texts[1, "train"] != texts[2, "train"]


def test_equal_seeds_give_equal_text_on_every_machine(tmp_path):
    # the golden sha is of the rows' text: parquet's own bytes depend on the version of pyarrow
    build(tmp_path, 3, **OPTIONS)
    rows = read_parquet(tmp_path / "train.parquet", PROMPT_COLUMNS)
    text = "\n".join(row["prompt"][-1]["content"] for row in rows)
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN


def test_tags_and_template(tmp_path):
    build(tmp_path, 1, **OPTIONS, template="gemma_voting", answer="tags")
    row = read_parquet(tmp_path / "sft.parquet", TEXT_COLUMNS)[0]
    assert re.fullmatch(
        r"<reasoning>\n(\d+[-+*/]\d+=\d+\n)+</reasoning>\n<answer>\n\d+\n</answer>",
        row["reasoning"] + row["answer"],
    )
    prompt = read_parquet(tmp_path / "test.parquet", PROMPT_COLUMNS)[0]
    assert "<answer>" in prompt["prompt"][0]["content"]
    assert prompt["extra_info"]["template"].startswith("gemma_voting ")


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"calculations": [0, 2]}, "calculations"),
        ({"calculations": [3]}, "calculations"),
        ({"largest": 5}, "largest 5"),
        ({"answer": "box"}, "'box'"),
        ({"train": 10**6, "calculations": [1, 1]}, "different problems"),
        ({"template": "plan"}, "no prompt template"),
        ({"bare": 0.2}, "bare need answer tags"),
    ],
)
def test_wrong_options_are_named(changed, word, tmp_path):
    with pytest.raises(ValueError, match=word):
        build(tmp_path, 1, **(OPTIONS | changed))


def test_solutions_in_the_texts_of_a_warm_up_and_tags_left_open(tmp_path):
    options = OPTIONS | {"calculations": [2, 3], "largest": 20, "train": 50}
    more = {"solutions": 30, "solution_calculations": [4, 4], "sft_noisy": 200, "noise": 0.1}
    build(tmp_path, 1, **options, **more, answer="tags", unclosed=0.3, bare=0.2)
    texts = {
        name: read_parquet(tmp_path / f"warmup_{name}.parquet", ("reasoning", "answer"))
        for name in ("published", "fixed", "chat")
    }
    for name, rows in texts.items():
        assert len(rows) == 30
        for row in rows:
            question, end = (
                row["prompt"][-1]["content"],
                "<answer>" if name == "published" else "</answer>",
            )
            assert row["answer"] == f"<answer>\n{read_and_solve(question)}\n{end}"
            assert row["reasoning"].count("=") == 4 and row["markup"] == (name == "chat")
    for name, share in (("sft", 0), ("sft_noisy", 0.3)):
        rows = read_parquet(tmp_path / f"{name}.parquet", TEXT_COLUMNS)
        opened = [row["answer"].endswith("<answer>") for row in rows]
        assert sum(opened) / len(opened) == pytest.approx(share, abs=0.1)
        marked = sum(row["markup"] for row in rows) / len(rows)
        assert marked == pytest.approx(0.8, abs=0.15)
