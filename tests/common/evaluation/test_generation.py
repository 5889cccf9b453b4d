"""Offline evaluation of a tiny model in one process: seeds, counts, stop tokens."""

import json

import pytest

from common.config import recipe_folder
from common.evaluation import generation
from common.stages.prepare_model import SPECIAL, build_model, character_tokenizer
from data.arithmetic_chain import build
from data.parquet import PROMPT_COLUMNS, read_parquet

pytestmark = pytest.mark.component
TEMPLATE = (recipe_folder("gspo_moe") / "micro_template.jinja").read_text()
SIZES = {"train": 4, "validation": 4, "test": 6, "sft": 4, "sft_noisy": 4, "noise": 0.1}
MODEL = {
    "architecture": "Qwen3Moe",
    "characters": "0123456789+-*=;",
    "config": {
        "hidden_size": 16,
        "intermediate_size": 16,
        "moe_intermediate_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
    },
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    build_model(path, MODEL, TEMPLATE, seed=1)
    return path


@pytest.fixture
def spec(model, tmp_path):
    build(tmp_path / "data", 1, operations=2, modulus=10, **SIZES)
    reward = {"path": "pkg://common.rewards.arithmetic_chain", "name": "compute_score"}
    return {
        "model": str(model),
        "engine": "transformers",
        "benchmarks": {"test": {"file": str(tmp_path / "data/test.parquet"), "samples": 3}},
        "reward": reward,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": -1,
        "batch_size": 100,
        "max_response_length": 6,
        "seed": 1,
    }


def responses(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["id"], line["sample"]): line for line in lines}


def test_counts_are_those_of_the_graded_responses(spec, tmp_path, monkeypatch):
    # a random model answers nothing; grade by something that some responses have
    monkeypatch.setattr(
        generation, "load_grader", lambda _: lambda source, text, truth, extra: float("1" in text)
    )
    result = generation.evaluate_benchmark(spec, "test", tmp_path / "test.jsonl")
    found = responses(tmp_path / "test.jsonl")
    problems = result["problems"]
    assert problems["id"] == [str(i) for i in range(6)] and problems["n"] == [3] * 6
    for i, count in zip(problems["id"], problems["c"], strict=True):
        assert count == sum("1" in found[i, s]["response"] for s in range(3))
    assert 0 < sum(problems["c"]) < 18
    assert result["tokens"]["prompt"] == 18 * 6
    assert all(len(line["response"]) <= 6 for line in found.values())


def test_a_response_depends_on_its_own_seed_only(spec, tmp_path):
    generation.evaluate_benchmark(spec, "test", tmp_path / "one.jsonl")
    generation.evaluate_benchmark(spec | {"batch_size": 4}, "test", tmp_path / "two.jsonl")
    generation.evaluate_benchmark(spec | {"seed": 2}, "test", tmp_path / "other.jsonl")
    one, two, other = (responses(tmp_path / f"{n}.jsonl") for n in ("one", "two", "other"))
    assert one == two != other
    assert len({line["response"] for line in one.values()}) > 6


def test_the_stop_token_ends_a_response_and_is_not_shown(spec, tmp_path, monkeypatch):
    everything = list(range(len(SPECIAL) + 15))
    monkeypatch.setattr(generation, "stop_ids", lambda *_: everything)
    result = generation.evaluate_benchmark(spec, "test", tmp_path / "test.jsonl")
    assert result["tokens"]["response"] == 18 and result["truncated"] == 0.0
    monkeypatch.setattr(generation, "stop_ids", lambda *_: [])
    result = generation.evaluate_benchmark(spec, "test", tmp_path / "test.jsonl")
    assert result["truncated"] == 1.0


def test_stop_ids_come_from_tokenizer_and_generation_config(model, tmp_path):
    tokenizer = character_tokenizer("01", TEMPLATE)
    assert generation.stop_ids(model, tokenizer) == [1]
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 7]}')
    assert generation.stop_ids(tmp_path, tokenizer) == [1, 7]


def test_the_prompt_of_training_and_evaluation_is_the_same_text(spec):
    tokenizer = character_tokenizer(MODEL["characters"], TEMPLATE)
    row = read_parquet(generation.Path(spec["benchmarks"]["test"]["file"]), PROMPT_COLUMNS)[0]
    content = row["prompt"][0]["content"]
    rendered = tokenizer.apply_chat_template(
        row["prompt"], add_generation_prompt=True, tokenize=False
    )
    assert rendered == content
    answered = [*row["prompt"], {"role": "assistant", "content": "1+1=2;"}]
    assert tokenizer.apply_chat_template(answered, tokenize=False) == content + "1+1=2;<eos>"


def test_each_character_is_a_token_and_others_are_unknown():
    tokenizer = character_tokenizer("01+=", TEMPLATE)
    ids = tokenizer("1+1=0").input_ids
    assert len(ids) == 5 and tokenizer.decode(ids) == "1+1=0"
    assert tokenizer("x").input_ids == [SPECIAL.index("<unk>")]


def test_an_unknown_architecture_and_grader_are_refused(tmp_path):
    with pytest.raises(ValueError, match="transformers has no NothingConfig"):
        build_model(tmp_path, MODEL | {"architecture": "Nothing"}, TEMPLATE, 1)
    with pytest.raises(ValueError, match="write pkg://"):
        generation.load_grader({"path": "/a.py", "name": "f"})
