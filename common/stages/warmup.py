"""Stage `warmup`: supervised fine-tuning between the base and RL, or in the place of RL.

What is taught is a file of the recipe's data, or the correct responses of another arm after its RL
on the same seed (self-distillation: zhanshijinwat/Steel-LLM @d660369, r1/ablation_gsm8k, keeps
every correct one of 5 a question). That arm is trained first where it was not; its training's key
and step are part of the responses' key, and theirs of the warm-up's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from common.config import RunConfig, compose_run
from common.results.record import compute_metrics
from common.rewards.rule import KEY
from common.runs import (
    STAGE_FILE,
    finish_stage,
    link,
    read_json,
    shared_stage,
    source_digest,
    write_json,
)
from common.schema import Benchmark, Evaluation, Sampled
from common.stages.evaluate import SOURCES, evaluation_inputs, sample_and_grade
from common.stages.rejection import sample, statistics
from common.stages.reward import reward_sources
from common.stages.sft import check_rows, fine_tune, on_the_way, phase_config
from common.stages.train import begin, read_metrics, write_metrics
from data.parquet import PROMPT_COLUMNS, read_parquet, write_parquet

CHOSEN, STATISTICS = "chosen.parquet", "statistics.json"
# Of a recipe, what decides an arm's training beside verl's own configuration.
DECIDES = ("data", "models", "model", "sft", "warmup", "platform", "gpus", "routing_replay")
Train = Callable[[RunConfig], Path]  # trains an arm where it was not; its exported model


def warm_up(run: RunConfig, data: Path, base: Path, train: Train) -> Path:
    """The folder whose `model/` is the base after the run's warm-up; linked, with what was sampled
    for it, into the run's folder.

    A `lost` warm-up leaves the base. That is what becomes of a LoRA adapter when a second trainer
    wraps the same model in a new one (tests/common/plugin/test_lora.py shows it of PEFT).
    """
    assert run.recipe.warmup and run.recipe.warmups  # common/checks/warmup.py
    spec = run.recipe.warmups[run.recipe.warmup]
    taught = data
    if spec.sampled:
        taught = distil(run, data, spec.sampled, train)
        link(run.run_dir, "distilled", taught)
    warmed = fine_tune(run, spec.sft, taught, base, base / "model")
    link(run.run_dir, "warmup", warmed)
    return base if spec.lost else warmed


def check_taught(run: RunConfig, data: Path) -> None:
    """Raise ValueError where the data has no such file for the run's warm-up, or too few rows."""
    spec = (run.recipe.warmups or {})[run.recipe.warmup] if run.recipe.warmup else None
    if spec and not spec.sampled:
        (phase,) = spec.sft.phases
        taught = phase_config(spec.sft, phase, run.seed)["data"]
        check_rows(data / Path(taught["train_files"]).name, taught["train_batch_size"])


def warmup_stages(run: RunConfig) -> list[str]:
    """The links that `warm_up` leaves in the run's folder."""
    if run.recipe.warmup is None:
        return []
    spec = (run.recipe.warmups or {})[run.recipe.warmup]
    return ["distilled", "warmup"] if spec.sampled else ["warmup"]


def teacher(run: RunConfig, arm: str) -> RunConfig:
    """The run of `arm` that a run learns from: the one without overrides, unless the run's own
    overrides change how that arm is trained."""
    plain = compose_run(run.folder, run.scale, arm, run.seed)
    own = compose_run(run.folder, run.scale, arm, run.seed, run.overrides)
    return plain if _decided(plain) == _decided(own) else own


def _decided(run: RunConfig) -> dict[str, Any]:
    recipe = {key: run.config["recipe"].get(key) for key in DECIDES}
    return run.config | {"recipe": recipe}


def distil(run: RunConfig, data: Path, sampled: Sampled, train: Train) -> Path:
    """The folder with the correct responses of an arm as chats (`chosen.parquet`)."""
    source = teacher(run, sampled.arm)
    model = train(source)
    trained = read_json(source.run_dir / "train" / STAGE_FILE)["key"]
    sampling = {k: v for k, v in asdict(sampled).items() if k in ("temperature", "top_p", "top_k")}
    inputs = {
        "samples": sampled.samples,
        "sampling": sampling | {"max_response_length": run.get("data.max_response_length")},
        "file": sampled.file,
        "engine": run.recipe.evaluation.engine,
        "batch_size": run.recipe.evaluation.batch_size,
        "reward": run.get(KEY),
        "seed": run.seed,
        "data": read_json(data / STAGE_FILE)["key"],
        "teacher": f"{trained}/{model.parent.parent.name}",
        "source": source_digest("common/stages/rejection.py", *SOURCES, *reward_sources(run)),
    }

    def make(folder: Path) -> None:
        prompts = Benchmark(sampled.file, sampled.samples)
        lines = sample(run, run.run_dir, model, folder, prompts, sampling)
        chats = correct(read_parquet(run.run_dir / sampled.file, PROMPT_COLUMNS), lines)
        if not chats:
            raise ValueError(f"{source.label}: no response was correct; there is nothing to teach")
        write_parquet(folder / CHOSEN, chats)
        write_json(folder / STATISTICS, statistics(folder, chats))

    return shared_stage("distilled", inputs, make, resumable=True)


def correct(rows: list[dict[str, Any]], responses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A chat for each correct response, by prompt and sample.

    `rows`: of verl's RL schema; `responses`: lines as `evaluate` saves them.
    """
    prompts = {str(row["extra_info"]["index"]): (i, row["prompt"]) for i, row in enumerate(rows)}
    right = [line for line in responses if line["accuracy"] == 1.0]
    right.sort(key=lambda line: (prompts[line["id"]][0], line["sample"]))
    return [
        {
            "messages": [
                *prompts[line["id"]][1],
                {"role": "assistant", "content": line["response"]},
            ]
        }
        for line in right
    ]


def warm_up_alone(run: RunConfig, run_dir: Path, data: Path, start: Path, argv: list[str]) -> Path:
    """The warm-up in the place of RL: what the evaluation and the record read of it, in the folder
    `train`. Returns the folder of the model.

    Raises ValueError when the folder holds a run of another configuration.
    """
    warmed, folder = (run_dir / "warmup").resolve(), run_dir / "train"
    stage = read_json(warmed / STAGE_FILE)
    inputs = {"start": read_json(start / STAGE_FILE)["key"], "warmup": stage["key"]}
    course = course_evaluation(run)
    if course:
        inputs["course"] = evaluation_inputs(run, data, stage["key"], course)
    begin(folder, inputs, argv)
    if not (folder / STAGE_FILE).exists():
        started = time.time()
        (phase,) = stage["inputs"]["phases"]
        name = phase["trainer"]["experiment_name"]
        metrics = read_metrics(warmed / f"{name}.jsonl")
        if "distilled" in warmup_stages(run):
            found = read_json(run_dir / "distilled" / STATISTICS)
            metrics[0] = json.dumps({"step": 0, "data": found})
        if course:
            for step, model in on_the_way(warmed).items():
                measured = on_course(run, run_dir, folder / f"step{step}", model, step, course)
                line = json.loads(metrics[step])
                metrics[step] = json.dumps(line | {"data": line["data"] | measured})
        write_metrics(folder / "metrics.jsonl", metrics)
        finish_stage(folder, inputs, time.time() - started)
    return warmed / "model"


def course_evaluation(run: RunConfig) -> Evaluation | None:
    """The evaluation of the models on the way: the benchmarks of the warm-up's `course`."""
    assert run.recipe.warmup and run.recipe.warmups  # common/checks/warmup.py
    names = run.recipe.warmups[run.recipe.warmup].course
    evaluation = run.recipe.evaluation
    chosen = {name: evaluation.benchmarks[name] for name in names}
    return replace(evaluation, benchmarks=chosen) if chosen else None


def on_course(
    run: RunConfig, run_dir: Path, folder: Path, model: Path, step: int, course: Evaluation
) -> dict[str, float]:
    """`course/<benchmark>/<metric>` of one model on the way: accuracy, length and, where responses
    are drawn from the policy's own distribution, its entropy, as of the finished model."""
    folder.mkdir(exist_ok=True)
    if not (folder / "result.json").exists():  # `begin` refuses a folder of other inputs
        sample_and_grade(run, run_dir, model, folder, f"{run.label} at step {step}", course)
    problems = {k: v["problems"] for k, v in read_json(folder / "result.json").items()}
    return {f"course/{name}": m["mean"] for name, m in compute_metrics(problems).items()}
