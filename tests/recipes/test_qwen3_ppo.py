"""qwen3_ppo: what its arms are, its prompt pool, and its graders behind a thought."""

import csv
from collections import Counter
from functools import cache

import pytest

from common.config import ROOT, choices, compose_run, leaves, recipe_folder
from common.results.claims import load_claims
from common.results.paper import load_paper
from common.rewards.registry import get_grader
from common.stages.prepare_model import word_tokenizer
from data import qwen3_ppo as pool
from data.parquet import read_parquet

FOLDER = recipe_folder("qwen3_ppo")
SELECTION = "trainer.v1.sampler.sampler_kwargs.selection"
TABLE = ROOT / "../shared/papers/tables/qwen3_ppo.csv"
GRADERS = {
    "checkable_instructions": "checkable",
    "retrieval_qa": "kbqa_strict",
    "arithmetic_chain": "arithmetic_chain",
}


@cache
def arm(variant="ppo"):
    return compose_run(FOLDER, "micro", variant, 1, [])


ARMS = {
    "all16": {f"{SELECTION}.rule": "all", f"{SELECTION}.lowest": 0, f"{SELECTION}.highest": 0},
    "select_then_normalise": {f"{SELECTION}.normalise": "after"},
    "kl_target": {"algorithm.kl_ctrl.type": "adaptive"},
    "sft_tiny": {"recipe.method": "sft", "recipe.warmup": "tiny"},
    "sft_lite": {"recipe.method": "sft", "recipe.warmup": "lite"},
    "sft_heavy": {"recipe.method": "sft", "recipe.warmup": "heavy"},
    "sft_then_ppo": {"recipe.warmup": "lite"},
}


@pytest.mark.parametrize("variant", ARMS)
def test_an_arm_is_its_delta(variant):
    plain, other = (dict(leaves(arm(v).config)) for v in ("ppo", variant))
    differing = {k: other[k] for k in other if plain.get(k) != other[k]}
    assert differing == ARMS[variant] | {"recipe.variant": variant}
    assert {*ARMS, "ppo"} == set(choices(FOLDER, "variant"))


def test_claims_and_published_numbers_are_readable():
    numbers = {(n.variant, n.benchmark): n.value for n in load_paper(FOLDER / "paper.csv")}
    assert numbers["ppo", "kbqa"] == 84.1 and numbers["sft_heavy", "kbqa, answerable"] == 59.07
    assert all(claim.informed_by is None for claim in load_claims(FOLDER / "claims.yaml"))


@pytest.mark.skipif(not TABLE.exists(), reason="the table of the post is not at hand")
def test_published_numbers_are_those_of_the_table():
    with TABLE.open() as file:
        values = Counter(
            round(float(r["value"]), 4) for r in csv.DictReader(file) if r["benchmark"]
        )
    for number in load_paper(FOLDER / "paper.csv"):
        if number.benchmark:
            scale = 1 if number.benchmark.startswith("instruct_follow") else 100
            assert values[round(number.value / scale, 4)], number


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    options = arm().recipe.data.options | {"sft": 600, "sft_noisy": 100, "preferences_train": 100}
    pool.build(folder, 1, **options)
    return folder


def test_the_pool_is_mixed_as_published(built):
    rows = read_parquet(built / "train.parquet", ("data_source", "prompt", "extra_info"))
    sources = Counter(row["data_source"] for row in rows)
    assert sources == {"checkable_instructions": 576, "retrieval_qa": 32, "arithmetic_chain": 32}
    thinking = [row for row in rows if row["extra_info"]["think"]]
    assert 15 <= len(thinking) <= 50  # 5 % of 640
    for row in rows:
        prompt = row["prompt"][0]["content"]
        assert prompt.startswith("think ") == row["extra_info"]["think"]
        assert row["extra_info"]["prompt"] == row["prompt"]  # the reward model reads it


def test_what_is_taught_is_right_fits_and_is_held_apart(built):
    run = arm()
    build = run.recipe.models["instruct"].build
    tokenizer = word_tokenizer([*build["characters"], *build["words"]], "")

    def tokens(text):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids, text
        return len(ids)

    rows = read_parquet(built / "train.parquet", ("data_source", "reward_model", "prompt"))
    chats = read_parquet(built / "taught.parquet", ("messages",))
    for row, chat in zip(rows, chats, strict=True):
        asked, answer = chat["messages"]
        assert asked == row["prompt"][0]
        grader = get_grader(f"recipes.qwen3_ppo.task:{GRADERS[row['data_source']]}")
        gold = row["reward_model"]["ground_truth"]
        assert grader.grade({"response": answer["content"], "gold": gold}).score == 1.0
    held_out = set()
    for name in ("validation", "general", "kbqa", "chains"):
        file = read_parquet(built / f"{name}.parquet", ("prompt",))
        held_out |= {row["prompt"][0]["content"].removeprefix("think ") for row in file}
    for name in ("taught", "sft", "sft_noisy"):
        for row in read_parquet(built / f"{name}.parquet", ("messages",)):
            asked, answer = (turn["content"] for turn in row["messages"])
            assert asked.removeprefix("think ") not in held_out
            assert tokens(asked) <= run.get("data.max_prompt_length")
            assert tokens(answer) < run.get("data.max_response_length")


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("1+1=2;", 1.0),
        ("<think>1+1=3;</think>1+1=2;", 1.0),
        ("<think>1+1=2;</think>1+1=3;", 0.0),
        ("<think>1+1=2;", 0.0),  # not closed: no answer
        ("</think>1+1=3;</think>1+1=2;", 1.0),
        (None, 0.0),
    ],
)
def test_what_follows_the_thought_is_graded(response, score):
    grader = get_grader("recipes.qwen3_ppo.task:arithmetic_chain")
    assert grader.grade({"response": response, "gold": "2"}).score == score
