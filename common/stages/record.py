"""Stage `record`: one JSON with everything a reader needs to trust or repeat a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.config import ROOT, RunConfig
from common.console import say
from common.fork import forked_from
from common.health import Health, Watch, as_json
from common.results import plots, provenance
from common.results import record as records
from common.rewards.rule import KEY, Rules
from common.runs import STAGE_FILE, read_json, relative
from common.stages.progress import step_metrics
from common.stages.rejection import NAME
from common.stages.reward import benchmark_rules
from common.stages.train import read_attempts, read_metrics
from common.stages.warmup import warmup_stages

STAGES = ("data", "model", "sft", "evaluate_base", "train", "evaluate")
# Kept in the record, one value a step; the rest stays in the run's own metrics.jsonl.
CURVES = (
    "actor/",
    "group/",
    "reference/",
    "token_selection/",
    "critic/score/mean",
    "critic/vf_",
    "critic/grad_norm",
    "response_length/mean",
    "response_length/clip_ratio",
    "response_length/max",
    "prompt_length/mean",
    "val-core/",
    "training/rollout_",
    "training/off_policy/trajectory_staleness/",
    "weight_sync/",
    "train/loss",
    "train/grad_norm",
    "course/",
    "rejection/",
    "timing_s/step",
    "timing_s/gen",
    "timing_s/old_log_prob",
    "timing_s/update_actor",
    "timing_s/update_critic",
    "timing_s/update_weights",
)


def record(run: RunConfig, run_dir: Path) -> Path:
    """Write `record/record.json` and `record/curves.png`; publish the record of a clean run.

    Returns the path of the record: below `results/` when the run has no overrides.
    """
    folder = run_dir / "record"
    folder.mkdir(exist_ok=True)
    values = build_record(run, run_dir)
    path = folder / "record.json"
    records.write(values, path)
    title = f"{run.name} {run.label}, seed {run.seed}, {run.scale}"
    plots.plot_run(values["curves"], folder / "curves.png", title)
    if run.published:
        path = records.record_path(ROOT / "results" / run.name, values)
        records.write(values, path)
    say(f"record: {relative(path)}; curves: {relative(folder / 'curves.png')}")
    return path


def build_record(run: RunConfig, run_dir: Path) -> dict[str, Any]:
    """The record of a run whose other stages are done."""
    taught = trained_reward_model(run)
    names = [*STAGES, *warmup_stages(run), *(["reward_model"] if taught else [])]
    seconds = {name: read_json(run_dir / name / STAGE_FILE)["seconds"] for name in names}
    results = {
        suffix: read_json(run_dir / name / "result.json")
        for suffix, name in (("", "evaluate"), (records.BASE, "evaluate_base"))
    }
    problems = {
        f"{benchmark}{suffix}": result["problems"]
        for suffix, benchmarks in results.items()
        for benchmark, result in benchmarks.items()
    }
    if taught:
        held_out = read_json(run_dir / "reward_model" / "result.json")
        problems |= {benchmark: result["problems"] for benchmark, result in held_out.items()}
    begun = read_json(run_dir / "train" / "provenance.json")
    curves = read_curves(run_dir / "train" / "metrics.jsonl")
    devices = run.ranks if run.recipe.platform == "cuda" else 0
    busy = sum(seconds[name] for name in names if name not in ("data", "model"))
    return {
        "schema": records.SCHEMA,
        "recipe": run.name,
        "scale": run.scale,
        "variant": run.label,
        "seed": run.seed,
        "argv": begun["argv"],
        "overrides": list(run.overrides),
        "config": run.config,
        "config_sha256": provenance.sha256_json(run.config),
        "forked_from": forked_from(run.folder),
        "provenance": begun["provenance"]
        | {"finished": read_json(run_dir / "evaluate" / STAGE_FILE)["finished"]},
        "data": {
            path.stem: {
                "rows": pq.read_metadata(path).num_rows,
                "sha256": provenance.sha256_file(path),
            }
            | prompt_templates(path)
            for path in sorted((run_dir / "data").glob("*.parquet"))
        },
        "prompt_template_sha256": template_sha256(run_dir / "model"),
        "grader": grader_of(run),
        "wall_time_s": seconds,
        "tokens": trained_tokens(run, run_dir, curves),
        "gpu_hours": round(busy * devices / 3600, 3),
        "resumes": [{"step": a["step"]} for a in read_attempts(run_dir / "train") if a["step"] > 0],
        "metrics": records.compute_metrics(problems),
        "problems": problems,
        "curves": curves,
        "health": as_json(watched(run, run_dir / "train" / "metrics.jsonl")),
    }


def trained_reward_model(run: RunConfig) -> bool:
    """Whether the run has trained the reward model of its RL; the record says how well."""
    spec = run.recipe.reward_model
    return run.recipe.method == "rl" and spec is not None and spec.hub is None


def watched(run: RunConfig, path: Path) -> dict[str, Health]:
    """The signs of an unhealthy training in a metrics file, also in what the curves leave out."""
    watch = Watch(run.get("data.max_response_length"))
    for _, line in sorted(read_metrics(path).items()):
        watch.see(*step_metrics(line))
    return watch.summary()


def trained_tokens(run: RunConfig, run_dir: Path, curves: dict[str, Any]) -> dict[str, int]:
    """Tokens of the prompts and responses that were sampled for training, for a warm-up too.

    Those of RL are an estimate where responses leave the update: all of them, times the mean length
    of the ones that stay.
    """
    method, found = run.recipe.method, {"prompt": 0, "response": 0}
    sampled = ["distilled"] if "distilled" in warmup_stages(run) else []
    sampled += ["train/sampled"] if method == "rejection" else []
    for folder in sampled:
        tokens = read_json(run_dir / folder / "result.json")[NAME]["tokens"]
        found = {kind: found[kind] + tokens[kind] for kind in found}
    if method == "rl":
        responses = run.get("data.train_batch_size") * run.get("actor_rollout_ref.rollout.n")
        for kind in found:
            lengths = curves["metrics"][f"{kind}_length/mean"]
            found[kind] += round(responses * sum(v or 0 for v in lengths))
    return found


def read_curves(path: Path) -> dict[str, Any]:
    """Steps and, for each kept metric, one value a step (null where it was not logged)."""
    lines = {step: json.loads(line)["data"] for step, line in read_metrics(path).items()}
    steps = sorted(lines)
    names = sorted({k for data in lines.values() for k in data if k.startswith(CURVES)})
    return {
        "steps": steps,
        "metrics": {name: [rounded(lines[s].get(name)) for s in steps] for name in names},
    }


def rounded(value: float | None) -> float | None:
    """Six significant digits; null for what is not a finite number."""
    if value is None or value != value or abs(value) == float("inf"):
        return None
    return float(f"{value:.6g}")


def prompt_templates(path: Path) -> dict[str, dict[str, str]]:
    """`prompts`: sha256 by name of the templates that a data file names; empty without any."""
    leaves = pq.read_metadata(path).schema
    columns = {leaves.column(i).path for i in range(len(leaves))}
    named = sorted(columns & {"extra_info.template", "template"})[:1]
    if not named:
        return {}
    [column] = pq.read_table(path, columns=named).flatten().columns
    labels = sorted(filter(None, pc.unique(column).to_pylist()))
    return {"prompts": dict(label.split() for label in labels)} if labels else {}


def template_sha256(model: Path) -> str:
    """The hash of the chat template, training's and evaluation's alike."""
    path = model / "chat_template.jinja"
    if path.exists():
        return provenance.sha256_file(path)
    return provenance.sha256_json(read_json(model / "tokenizer_config.json").get("chat_template"))


def grader_of(run: RunConfig) -> dict[str, str]:
    """Name and version of the training's and the benchmarks'; of several, lists in one order."""
    graders = dict(Rules.of(run.get(KEY)).graders)
    for rules in benchmark_rules(run).values():
        graders |= rules.graders
    versions = [grader.version for grader in graders.values()]
    return {"name": ", ".join(graders), "version": ", ".join(versions)}
