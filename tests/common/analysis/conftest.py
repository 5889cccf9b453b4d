"""A recipe with two arms and two seeds: records, saved responses and data, made anew."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from common.analysis import runs
from common.config import recipe_folder
from common.results.paper import COLUMNS
from common.results.record import compute_metrics
from common.runs import write_json
from common.stages.prepare_model import build_model
from data.parquet import prompt_row, write_parquet
from tests.common.results.conftest import make_record

__all__ = ["make_record"]
ARMS, SEEDS, SAMPLES = ("nsr", "psr"), (1, 2), 8
IDS = [str(i) for i in range(30)]
TEXTS = ("Wait, <answer>{gold}</answer>", "so <answer>{gold}0</answer> 所以", "let me see")


def counts(accuracy: float, seed: int) -> dict:
    draw = np.random.default_rng(seed)
    correct = [int(c) for c in draw.binomial(SAMPLES, accuracy, len(IDS))]
    return {"id": IDS, "n": [SAMPLES] * len(IDS), "c": correct}


def save_responses(folder: Path, benchmark: str, seed: int, data: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    with (folder / f"{benchmark}.jsonl").open("w") as file:
        for problem in reversed(IDS):
            for sample in range(SAMPLES):
                kind = int(draw.integers(3))
                line = {"id": problem, "sample": sample, "reward": [1.0, -0.5, -1.0][kind]}
                line["response"] = TEXTS[kind].format(gold=int(problem) + 100)
                line["accuracy"] = float(kind == 0)
                file.write(json.dumps(line) + "\n")
    write_json(folder / "result.json", {benchmark: {}})
    spec = {"benchmarks": {benchmark: {"file": str(data)}}, "temperature": 1.0}
    write_json(folder / "spec.json", spec | {"model": str(data.parent / "model")})


@pytest.fixture
def recipe(tmp_path, monkeypatch, make_record):
    """`folder`: the recipe's; `results` and `runs`: where records and responses lie."""
    folder = tmp_path / "recipes" / "demo"
    for group, names in (("variant", ARMS), ("scale", ("micro", "node8"))):
        (folder / group).mkdir(parents=True)
        for name in names:
            (folder / group / f"{name}.yaml").write_text("{}\n")
    (folder / "recipe.yaml").write_text("recipe: {}\n")
    (folder / "paper.csv").write_text(",".join(COLUMNS) + "\n")
    (folder / "claims.yaml").write_text("[]\n")
    monkeypatch.setattr(runs, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    data = tmp_path / "test.parquet"
    write_parquet(data, [prompt_row("demo", "?", str(i + 100), "test", i) for i in range(30)])
    entropy = [0.1 + 0.4 * 0.9**step for step in range(30)]
    curves = {
        "steps": list(range(1, 31)),
        "metrics": {
            "actor/entropy": entropy,
            "group/correct": [2.5 - 1.5 * float(np.exp(h)) for h in entropy],
            "group/all_correct": [step / 60 for step in range(30)],
            "group/subgoal": [step / 60 for step in range(30)],
            "group/score": [step / 30 for step in range(30)],
            "group/samples": [64.0] * 30,
            "group/kept": [0.25] * 30,
            "timing_s/update_actor": [2.0] * 30,
        },
    }
    for arm, accuracy in zip(ARMS, (0.5, 0.7), strict=True):
        for seed in SEEDS:
            problems = {
                name + suffix: counts(value, number + 10 * seed)
                for number, (name, suffix, value) in enumerate(
                    [
                        ("test", "", accuracy),
                        ("swapped", "", accuracy - 0.2),
                        ("test", "@base", 0.3),
                        ("swapped", "@base", 0.2),
                    ]
                )
            }
            record = make_record(
                arm, seed, problems=problems, metrics=compute_metrics(problems), curves=curves
            )
            write_json_in(tmp_path / "results/demo/micro" / f"{arm}-seed{seed}.json", record)
            place = tmp_path / "runs/demo/micro" / arm / f"seed{seed}"
            save_responses(place / "evaluate", "test", seed, data)
            save_responses(place / "evaluate_base", "test", seed + 100, data)
    return SimpleNamespace(
        folder=folder, results=tmp_path / "results", runs=tmp_path / "runs", name=str(folder)
    )


@pytest.fixture
def checkpoint(tmp_path):
    """The model that every spec.json of `recipe` names."""
    torch.set_num_threads(1)  # more threads only slow a model this small down
    characters = "".join(sorted(set("".join(TEXTS)) | set("0123456789?") - set("{}")))
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    spec = {"architecture": "Qwen3", "characters": characters, "config": sizes | heads}
    template = (recipe_folder("gspo_moe") / "micro_template.jinja").read_text()
    build_model(tmp_path / "model", spec, template, seed=1)
    return tmp_path / "model"


def write_json_in(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value)
