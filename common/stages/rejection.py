"""Rejection-sampled fine-tuning in the place of RL: of responses sampled from the model that RL
would start from, the shortest correct one to each training prompt is taught by verl's SFT trainer.

As Xie et al. 2025 (Logic-RL, arXiv 2502.14768, RQ5) describe their RFT. What is correct is said by
the reward of training. The stage takes the place of `train`, in whose folder it leaves what the
evaluation and the record read: inputs, provenance, one line of metrics a step, the exported model.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.console import say
from common.rewards.rule import KEY
from common.runs import STAGE_FILE, finish_stage, read_json, relative, source_digest
from common.schema import Benchmark
from common.stages.evaluate import SOURCES, sample_and_grade
from common.stages.reward import reward_sources
from common.stages.sft import phase_config, run_phase
from common.stages.train import begin, read_metrics, write_metrics
from data.parquet import PROMPT_COLUMNS, read_parquet, write_parquet

NAME = "train"  # of the sampled benchmark


def rejection(run: RunConfig, run_dir: Path, data: Path, start: Path, argv: list[str]) -> Path:
    """Sample, select, teach; returns the folder of the exported model.

    Raises ValueError when the folder holds a run of another configuration, or nothing was solved.
    """
    spec = run.recipe.rejection
    assert spec is not None  # common/checks/configuration.py
    folder = run_dir / "train"
    (phase,) = spec.sft.phases
    config = phase_config(spec.sft, phase, run.seed)
    sampling = {
        k: run.get(f"actor_rollout_ref.rollout.{k}") for k in ("temperature", "top_p", "top_k")
    }
    inputs = {
        "samples": spec.samples,
        "sampling": sampling | {"max_response_length": run.get("data.max_response_length")},
        "phase": config,
        "reward": run.get(KEY),
        "seed": run.seed,
        "data": read_json(data / STAGE_FILE)["key"],
        "start": read_json(start / STAGE_FILE)["key"],
        "source": source_digest("common/stages/rejection.py", *SOURCES, *reward_sources(run)),
    }
    begin(folder, inputs, argv)
    steps = config["trainer"]["total_training_steps"]
    exported = folder / phase["name"] / "checkpoints" / f"global_step_{steps}" / "huggingface"
    if (folder / STAGE_FILE).exists():
        say(f"train: done before ({relative(folder)})")
        return exported
    started = time.time()
    sampled = folder / "sampled"
    file = str(run.get("data.train_files"))
    lines = sample(run, run_dir, start / "model", sampled, Benchmark(file, spec.samples), sampling)
    found = select(read_parquet(run_dir / file, PROMPT_COLUMNS), lines)
    if not found:
        raise ValueError(f"{relative(sampled)}: no response was correct; there is nothing to teach")
    write_parquet(folder / "chosen.parquet", found)
    model = run_phase(run, folder / phase["name"], config, folder, start / "model")
    metrics = read_metrics(folder / phase["name"] / "metrics.jsonl")
    metrics[0] = json.dumps({"step": 0, "data": statistics(sampled, found)})
    write_metrics(folder / "metrics.jsonl", metrics)
    finish_stage(folder, inputs, time.time() - started)
    return model


def sample(
    run: RunConfig,
    run_dir: Path,
    model: Path,
    folder: Path,
    prompts: Benchmark,
    sampling: dict[str, Any],
) -> list[dict[str, Any]]:
    """Responses of a model to `prompts`, graded by the reward of training, as `evaluate` saves
    them; those of `folder` where it has them. `sampling`: temperature, top_p and top_k."""
    if not (folder / "result.json").exists():
        folder.mkdir(exist_ok=True)
        evaluation = replace(
            run.recipe.evaluation,
            **sampling,
            benchmarks={NAME: prompts},
            max_response_length=run.get("data.max_response_length"),
        )
        sample_and_grade(run, run_dir, model, folder, "rejection", evaluation)
    return [json.loads(line) for line in (folder / f"{NAME}.jsonl").read_text().splitlines()]


def select(rows: list[dict[str, Any]], responses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chats of the prompts that have a correct response, each with its shortest, in order.

    `rows`: of verl's RL schema; `responses`: lines as `evaluate` saves them. Length is counted in
    characters; of equally short ones the first sample is taken.
    """
    best: dict[str, tuple[int, int, str]] = {}
    for line in responses:
        if line["accuracy"] == 1.0:
            candidate = (len(line["response"]), line["sample"], line["response"])
            best[line["id"]] = min(best.get(line["id"], candidate), candidate)
    ids = [str(row["extra_info"]["index"]) for row in rows]
    return [
        {"messages": [*row["prompt"], {"role": "assistant", "content": best[i][2]}]}
        for i, row in zip(ids, rows, strict=True)
        if i in best
    ]


def statistics(sampled: Path, found: list[dict[str, Any]]) -> dict[str, float]:
    """Share of correct responses, of prompts with one and with nothing else, and characters of the
    chosen responses."""
    counts = read_json(sampled / "result.json")[NAME]["problems"]
    pairs = list(zip(counts["c"], counts["n"], strict=True))
    lengths = [len(row["messages"][-1]["content"]) for row in found]
    return {
        "rejection/correct": sum(counts["c"]) / sum(counts["n"]),
        "rejection/solved": sum(c > 0 for c, _ in pairs) / len(pairs),
        "rejection/all_correct": sum(c == n for c, n in pairs) / len(pairs),
        "rejection/characters": sum(lengths) / len(lengths),
    }
