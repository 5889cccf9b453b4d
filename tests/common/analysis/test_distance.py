"""Perplexity and KL against a computation of their own, and what a run's folder gives."""

import math

import numpy as np
import pytest

from common.analysis.distance import LESSONS, compare, load, measure
from common.analysis.runs import Run
from common.config import recipe_folder
from common.runs import write_json
from common.stages.prepare_model import build_model
from data.parquet import prompt_row, write_parquet

SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
SPEC = {"architecture": "Qwen3", "characters": "0123+=;", "config": SIZES | HEADS}
ROW, ANSWERS = prompt_row("x", "1+2=", "3", "test", 0), ["3;", "12=3", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's folder with a base and a warmed-up model that is another."""
    path = tmp_path_factory.mktemp("run")
    template = (recipe_folder("gspo_moe") / "micro_template.jinja").read_text()
    for seed, stage in enumerate(("sft", "warmup")):
        (path / stage).mkdir()
        build_model(path / stage / "model", SPEC, template, seed)
    (path / "start").symlink_to("warmup")
    data = {"train_files": "data/foreign.parquet", "custom_cls": {"path": None}}
    write_json(path / "warmup" / "stage.json", {"inputs": {"phases": [{"data": data}]}})
    chat = [{"role": "user", "content": "1+2="}, {"role": "assistant", "content": "12=3"}]
    write_parquet(path / "data" / "foreign.parquet", [{"messages": chat}])
    write_parquet(path / "data" / "test.parquet", [ROW])
    for stage, model in (("evaluate_base", "warmup"), ("evaluate", "sft")):
        (path / stage).mkdir()
        files = {"test": {"file": str(path / "data" / "test.parquet")}}
        spec = {"model": str(path / model / "model"), "benchmarks": files}
        write_json(path / stage / "spec.json", spec)
        write_json(path / stage / "result.json", {"test": {}})
        line = '{"id": "0", "sample": 0, "response": "12=3", "reward": 1, "accuracy": 1}\n'
        (path / stage / "test.jsonl").write_text(line)
    return path


def by_hand(base, model, answer):
    """Token by token, each from a pass of its own."""
    import torch

    surprise = divergence = 0.0
    network, tokenizer = base
    ids = tokenizer("1+2=").input_ids
    for token in tokenizer(answer).input_ids:
        with torch.no_grad():
            p, q = (
                one(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
                for one in (model[0], network)
            )
        surprise -= math.log(q[token])
        divergence += float((p * (p / q).log()).sum())
        ids = [*ids, token]
    return surprise, divergence


def test_against_each_token_by_itself(folder):
    run = Run("warmup", 1, folder, "make", None)
    base, model = (load(run, folder / stage / "model") for stage in ("sft", "warmup"))
    found = compare(base, model, [ROW] * 3, ANSWERS)
    assert found.tokens.tolist() == [2, 4]  # the empty one is left out
    for i, answer in enumerate(ANSWERS[:2]):
        surprise, divergence = by_hand(base, model, answer)
        assert found.surprise[i] == pytest.approx(surprise, rel=1e-4)
        assert found.divergence[i] == pytest.approx(divergence, rel=1e-3)
    assert found.perplexity().value == pytest.approx(math.exp(found.surprise.sum() / 6))
    assert found.kl().value == pytest.approx(found.divergence.sum() / 6) and found.kl().value > 0
    alone = compare(base, None, [ROW], ["3;"])
    assert np.isnan(alone.divergence).all() and alone.kl() is None
    with pytest.raises(ValueError, match="no token"):
        compare(base, None, [ROW], [""])


def test_what_is_measured_of_a_run(folder):
    run = Run("warmup_foreign", 1, folder, "make", None)
    found = dict(measure(run, [], 10))
    before, after = "the model before RL, test", "the trained model, test"
    assert list(found) == [LESSONS, before, after]
    # the lesson is the saved response, and the trained model is the base
    assert found[LESSONS].surprise == pytest.approx(found[before].surprise)
    assert found[before].divergence > 0 and found[after].divergence == 0
