"""Stage `evaluate`: generated code problems at micro, from data to the numbers of a record."""

import json
import sys
from dataclasses import replace

import pytest
from transformers import AutoTokenizer

from common import runs
from common.evaluation import generation
from common.results.record import compute_metrics
from common.sandbox import runner
from common.schema import Benchmark
from common.stages import evaluate
from common.stages.prepare_data import prepare_data
from data import code_problems
from data.code_problems import KINDS
from data.micro_task import Draws
from data.parquet import PROMPT_COLUMNS, read_parquet
from tests.composed import composed

SIZES = {"train": 2, "validation": 2, "test": 8, "sft": 2, "tests_each": 3}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """gspo_moe at micro, with generated code problems in the place of its own."""
    monkeypatch.setattr(runs, "STORE", tmp_path / "store")
    found = composed("gspo_moe", "micro", "gspo")
    options = SIZES | {"template": "livecodebench"}
    recipe = replace(
        found.recipe,
        data=replace(found.recipe.data, builder="code_problems", options=options),
        evaluation=replace(
            found.recipe.evaluation,
            engine="scripted",
            benchmarks={"code": Benchmark("data/test.parquet", 2, "code")},
        ),
    )
    return replace(found, recipe=recipe)


@pytest.mark.sandbox
@pytest.mark.component
def test_code_is_run_and_rated(run, tmp_path, monkeypatch):
    """All but the model, whose responses are scripted, and the process around it."""
    folder = tmp_path / "run" / "evaluate"
    file = runs.link(folder.parent, "data", prepare_data(run)) / "test.parquet"
    folder.mkdir()
    asked = " ".join(t["content"] for t in read_parquet(file, PROMPT_COLUMNS)[0]["prompt"])
    assert "expert Python programmer" in asked and "```python" in asked
    sizes = {name: SIZES[name] for name in ("train", "validation", "test")}
    held_out = code_problems.HELD_OUT_SEED
    problems = Draws(code_problems.draw, hash, held_out, run.seed, **sizes).splits["test"]
    texts = [
        code_problems.respond(p, right)
        for p in problems
        for right in (KINDS[p.kind].rating < 1300, p.function)
    ]

    class Tokenizer:
        eos_token_id = 1

        def apply_chat_template(self, *_, **__):
            return [1]

        def decode(self, ids, **_):
            return texts[ids[0]]

    def here(arguments, env, log, follow):
        monkeypatch.setattr(sys, "argv", arguments[1:])
        generation.main()
        follow()

    spoken = [(i, [i], "stop", 0.0) for i in reversed(range(len(texts)))]
    monkeypatch.setitem(generation.ENGINES, "scripted", lambda *_: iter(spoken))
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: Tokenizer())
    monkeypatch.setattr(evaluate, "run_child", here)
    evaluate.sample_and_grade(run, folder.parent, tmp_path, folder, "scripted responses")
    runner.close()
    found = runs.read_json(folder / "result.json")["code"]["problems"]
    assert found["r"] == [KINDS[p.kind].rating for p in problems]
    assert found["c"] == [int(KINDS[p.kind].rating < 1300) + p.function for p in problems]
    assert "u" not in found and 0 < sum(found["c"]) < 16
    lines = map(json.loads, (folder / "code.jsonl").read_text().splitlines())
    said = {(line["id"], line["sample"]): line["response"] for line in lines}
    assert [said[key] for key in sorted(said)] == texts
    metrics = compute_metrics({"code": found})
    low, high = metrics["code/elo"]["ci95"]
    assert low < metrics["code/elo"]["mean"] < high
