"""Offline evaluation of a tiny model in one process: seeds, counts, stop tokens."""

import json
import math
from dataclasses import replace

import pytest

from common.config import recipe_folder
from common.evaluation import generation
from common.rewards import arithmetic_chain
from common.rewards.registry import get_grader
from common.rewards.verdict import Grader, Outcome, Verdict
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
    reward = {
        "path": "pkg://common.rewards.rule",
        "name": "compute_score",
        "reward_kwargs": {"grader": "arithmetic_chain"},
    }
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


def grade_by_a_digit(row):
    """A random model answers nothing: grade by what some responses have."""
    outcome = Outcome.CORRECT if "1" in row["response"] else Outcome.WRONG
    if "2" in row["response"]:
        outcome = Outcome.UNGRADABLE
    return Verdict(outcome, -2.5, None, {"format": 0.5})


def test_counts_are_those_of_the_graded_responses(spec, tmp_path, monkeypatch):
    grader = Grader("digits", "1", grade_by_a_digit, metrics=("format",))
    monkeypatch.setattr(arithmetic_chain, "GRADERS", (replace(grader, name="arithmetic_chain"),))
    result = generation.evaluate_benchmark(spec, "test", tmp_path / "test.jsonl")
    found = responses(tmp_path / "test.jsonl")
    problems = result["problems"]
    assert problems["id"] == [str(i) for i in range(6)] and problems["n"] == [3] * 6
    for i, count, none in zip(problems["id"], problems["c"], problems["u"], strict=True):
        texts = [found[i, s]["response"] for s in range(3)]
        assert count == sum("1" in text and "2" not in text for text in texts)
        assert none == sum("2" in text for text in texts)
    assert sum(problems["c"]) > 0 < sum(problems["u"])
    assert result["tokens"]["prompt"] == 18 * 6
    for line in found.values():
        assert len(line["response"]) <= 6
        assert line["ungradable"] == float("2" in line["response"])
        assert (line["reward"], line["format"]) == (-2.5, 0.5)


def test_a_benchmark_may_have_a_grader_of_its_own(spec, tmp_path):
    spec["benchmarks"]["test"]["grader"] = "random_reward"
    problems = generation.evaluate_benchmark(spec, "test", tmp_path / "test.jsonl")["problems"]
    rows = read_parquet(tmp_path / "data/test.parquet", PROMPT_COLUMNS)
    golds = {str(r["extra_info"]["index"]): r["reward_model"]["ground_truth"] for r in rows}
    paid = get_grader("random_reward").grade
    for (i, _), line in responses(tmp_path / "test.jsonl").items():
        row = {"response": line["response"], "gold": golds[i]}
        assert line["accuracy"] == line["reward"] == paid(row).score
    assert 0 < sum(problems["c"]) < sum(problems["n"])  # the run's own grader counts none


def test_details_of_a_grader_are_summed_by_problem(spec, tmp_path, monkeypatch):
    def length(row):
        return Verdict(Outcome.WRONG, 0.0, None, {"length": float(len(row["response"]))})

    grader = Grader("arithmetic_chain", "1", length, metrics=("length", "none"))
    monkeypatch.setattr(arithmetic_chain, "GRADERS", (grader,))
    spec["benchmarks"]["test"]["details"] = ["length", "none"]
    problems = generation.evaluate_benchmark(spec, "test", tmp_path / "test.jsonl")["problems"]
    found = responses(tmp_path / "test.jsonl")
    lengths = [sum(len(found[i, s]["response"]) for s in range(3)) for i in problems["id"]]
    assert problems["d"] == {"length": lengths, "none": [0.0] * 6} and len(set(lengths)) > 1


def test_counts_name_no_ungradable_response_where_there_is_none(spec, tmp_path):
    result = generation.evaluate_benchmark(spec, "test", tmp_path / "test.jsonl")
    problems = result["problems"]
    assert set(problems) == {"id", "n", "c", "t", "h"}
    assert sum(problems["t"]) == result["tokens"]["response"] > 0
    # an untrained model: nearly uniform over its tokens
    each = sum(problems["h"]) / sum(problems["t"])
    assert each == pytest.approx(math.log(len(SPECIAL) + len(MODEL["characters"])), rel=0.2)


def test_a_benchmark_may_have_a_temperature_of_its_own(spec, tmp_path):
    spec["benchmarks"]["greedy"] = spec["benchmarks"]["test"] | {"temperature": 0.0}
    known, names = {}, ("test", "greedy")
    found = {n: generation.evaluate_benchmark(spec, n, tmp_path / n, known) for n in names}
    assert "h" not in found["greedy"]["problems"]  # that would be no entropy
    assert len({line["response"] for line in responses(tmp_path / "greedy").values()}) <= 6


def test_another_grader_gets_the_same_responses_and_another_template_new_ones(
    spec, tmp_path, monkeypatch
):
    sampled, engine = [], generation.ENGINES["transformers"]

    def counting(model_path, prompts, work):
        sampled.append(prompts)
        return engine(model_path, prompts, work)

    monkeypatch.setitem(generation.ENGINES, "transformers", counting)
    test = spec["benchmarks"]["test"]
    template = "{{ messages[0]['content'] }}0"
    spec["benchmarks"] |= {
        "coin": test | {"grader": "random_reward"},
        "other": test | {"chat_template": template},
    }
    known = {}
    for name in spec["benchmarks"]:
        generation.evaluate_benchmark(spec, name, tmp_path / f"{name}.jsonl", known)
    said = {
        name: {key: line["response"] for key, line in responses(tmp_path / f"{name}.jsonl").items()}
        for name in spec["benchmarks"]
    }
    assert said["test"] == said["coin"] != said["other"]
    assert len(sampled) == 2 and sampled[0] != sampled[1]
    assert [len(prompt) for prompt in sampled[1]] == [len(prompt) + 1 for prompt in sampled[0]]
    assert len(known) == 1  # what nobody asks for again is not kept


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


def test_an_unknown_architecture_is_refused(tmp_path):
    with pytest.raises(ValueError, match="transformers has no NothingConfig"):
        build_model(tmp_path, MODEL | {"architecture": "Nothing"}, TEMPLATE, 1)
