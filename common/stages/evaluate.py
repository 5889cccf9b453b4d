"""Stage `evaluate`: sample every benchmark of the recipe with a checkpoint and count."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.console import say
from common.process import environment, run_child
from common.results.provenance import sha256_json
from common.rewards.rule import KEY
from common.runs import (
    STAGE_FILE,
    finish_stage,
    read_json,
    shared_stage,
    source_digest,
    write_json,
)
from common.schema import Evaluation
from common.stages.progress import Follower
from common.stages.reward import evaluation_sources
from data.parquet import PROMPT_COLUMNS, read_parquet

SOURCES = ("common/evaluation/generation.py", "common/plugin/sampling.py")


def evaluation_inputs(
    run: RunConfig, data: Path, model_key: str, evaluation: Evaluation | None = None
) -> dict[str, Any]:
    """Everything that decides the counts; arms of other rewards share what needs none of them."""
    evaluation = evaluation or run.recipe.evaluation
    shared = any(not b.grader for b in evaluation.benchmarks.values())
    return {
        "chat_templates": chat_templates(run),
        "data": read_json(data / STAGE_FILE)["key"],
        "model": model_key,
        "evaluation": asdict(evaluation),
        "max_response_length": longest(run, evaluation),
        "reward": run.get(KEY) if shared else None,
        "seed": run.seed,
        "source": source_digest(*SOURCES, *evaluation_sources(run)),
    }


def longest(run: RunConfig, evaluation: Evaluation | None = None) -> int:
    """Tokens of a response in the evaluation."""
    own = (evaluation or run.recipe.evaluation).max_response_length
    return own or int(run.get("data.max_response_length"))


def chat_templates(run: RunConfig) -> dict[str, str]:
    """The recipe's templates that benchmarks use in the place of the model's, by file name."""
    names = {b.chat_template for b in run.recipe.evaluation.benchmarks.values()} - {None}
    return {str(name): (run.folder / str(name)).read_text() for name in sorted(map(str, names))}


def evaluate_start(run: RunConfig, run_dir: Path, data: Path, start: Path) -> Path:
    """Evaluate the model before RL, once for all arms that share it."""
    inputs = evaluation_inputs(run, data, read_json(start / STAGE_FILE)["key"])

    def make(folder: Path) -> None:
        sample_and_grade(run, run_dir, start / "model", folder, "before RL")

    return shared_stage("evaluate_base", inputs, make)


def evaluate(run: RunConfig, run_dir: Path, data: Path, exported: Path) -> Path:
    """Evaluate the trained model of this run."""
    folder = run_dir / "evaluate"
    trained = read_json(run_dir / "train" / STAGE_FILE)["key"]
    step = exported.parent.parent.name
    inputs = evaluation_inputs(run, data, f"{trained}/{step}")
    marker = folder / STAGE_FILE
    if marker.exists() and read_json(marker)["key"] == sha256_json(inputs):
        say("evaluate: done before")
        return folder
    marker.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.time()
    sample_and_grade(run, run_dir, exported, folder, run.label)
    finish_stage(folder, inputs, time.time() - started)
    return folder


def sample_and_grade(
    run: RunConfig,
    run_dir: Path,
    model: Path,
    folder: Path,
    title: str,
    evaluation: Evaluation | None = None,
) -> None:
    """Write `result.json` and every graded response into `folder`; by default of the recipe's
    evaluation."""
    settings = asdict(evaluation or run.recipe.evaluation)
    settings["max_response_length"] = longest(run, evaluation)
    templates = chat_templates(run)
    for benchmark in settings["benchmarks"].values():
        benchmark["file"] = str((run_dir / benchmark["file"]).resolve())
        benchmark["chat_template"] = templates.get(benchmark["chat_template"])
    spec = settings | {
        "model": str(model.resolve()),
        "reward": run.get(KEY),
        "seed": run.seed,
        "gpus": run.recipe.gpus,
    }
    write_json(folder / "spec.json", spec)
    name, benchmark = next(iter(settings["benchmarks"].items()))
    rows = read_parquet(Path(benchmark["file"]), PROMPT_COLUMNS)
    total = len(rows) * benchmark["samples"]
    say(f"evaluate {title}: {name}, {len(rows)} problems x {benchmark['samples']} samples")
    env = environment(run.recipe.platform)
    progress = folder / f"{name}.progress.jsonl"
    progress.unlink(missing_ok=True)
    follower = Follower(f"evaluate {title}", progress, total, {"accuracy": "accuracy"}, total)
    with follower:
        run_child(
            ["-m", "common.evaluation.generation", str(folder / "spec.json")],
            env,
            folder / "log.txt",
            follower.poll,
        )
