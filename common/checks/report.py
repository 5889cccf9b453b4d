"""The report of `check`: what verl says of every run, what it will need, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.checks.machine import machine_faults
from common.checks.verl_side import NO_VLLM, run_name, verl_says
from common.config import RunConfig
from common.estimate import hours, memory
from common.estimate.dimensions import dimensions, model_config
from data import dependencies
from data.parquet import PROMPT_COLUMNS, read_parquet
from data.sources import get_source, parse

GIB = memory.GIB
TEST_PROBLEMS = 30  # of a benchmark of unknown size: AIME 2024 has 30


def check_runs(runs: list[RunConfig]) -> dict[str, dict[str, Any]]:
    """One entry for each run: `verl`, `vllm`, `estimate` and `warnings`.

    Raises ValueError, naming the run, for what verl refuses or for data that verl cannot read.
    """
    verl = verl_says(runs)
    report = {}
    for run in runs:
        name = run_name(run)
        said = verl[name]
        if said["error"]:
            raise ValueError(f"{name}: verl refuses the configuration ({said['error']})")
        found = estimate(run)
        report[name] = {
            "verl": said["built"],
            "vllm": said["vllm"],
            "estimate": found,
            "warnings": [
                *machine_faults(run),
                *data_warnings(run),
                *estimate_warnings(run, found),
                *([f"vLLM's arguments: {NO_VLLM}"] if said["vllm"] == NO_VLLM else []),
            ],
        }
    return report


def data_files(run: RunConfig) -> list[str]:
    """The parquet files with prompts, below the run's folder."""
    files = [run.get("data.train_files"), run.get("data.val_files")]
    files += [b.file for b in run.recipe.evaluation.benchmarks.values()]
    return list(dict.fromkeys(files))


def data_warnings(run: RunConfig) -> list[str]:
    """Data not built yet. Raises ValueError for files that are there and lack what verl reads."""
    missing = []
    for file in data_files(run):
        path = run.run_dir / file
        if not path.exists():
            missing.append(file)
            continue
        for row in read_parquet(path, PROMPT_COLUMNS)[:1]:
            lacking = [
                key
                for key, inner in (("reward_model", "ground_truth"), ("extra_info", "index"))
                if inner not in (row[key] or {})
            ]
            if lacking:
                raise ValueError(f"{path}: {lacking[0]} has not what verl reads; build it again")
    found = dependencies.inputs(run.recipe.data.builder, run.recipe.data.options)
    absent = [k.removeprefix("file ") for k, v in found.items() if k.startswith("file ") and not v]
    warnings = (
        [f"not made yet: {', '.join(absent)} (the recipe's README says how)"] if absent else []
    )
    if missing:
        warnings.append(f"not built yet: {', '.join(missing)} (the first run builds them)")
    return warnings


def estimate(run: RunConfig) -> dict[str, Any] | None:
    """Memory in GiB, disk in GB and GPU-hours; None without GPUs or the model's dimensions."""
    config = model_config(run.recipe.models[run.recipe.model])
    if config is None or run.recipe.gpu_memory_gib is None or run.recipe.method != "rl":
        return None
    d, s = dimensions(config), memory.setting(run)
    capacity = run.recipe.gpu_memory_gib * GIB
    steps = run.get("trainer.total_training_steps")
    served = run.get("algorithm").get("reference_service")
    spent = hours.gpu_hours(d, s, capacity, steps, evaluated(run, steps))
    return {
        "parameters": d.parameters(),
        "active_parameters": d.active,
        "update_gib": in_units(memory.update_phase(d, s), GIB),
        "rollout_gib": in_units(memory.rollout_phase(d, s, capacity), GIB),
        "full_sequences": memory.concurrent_sequences(d, s, capacity, s.prompt + s.response),
        "host_gib": in_units(memory.host(d, s), GIB),
        "disk_gb": in_units(memory.disk(d, s, hub=True), 1e9),
        "step_seconds": in_units(hours.step_seconds(d, s, capacity), 1),
        "gpu_hours": in_units(spent, 1),
        "served_gib": round(memory.reference(d, s) / GIB, 1) if served else 0.0,
    }


def evaluated(run: RunConfig, steps: int) -> int:
    """Responses sampled outside of training: validations, and the start's and end's evaluation."""
    options = run.recipe.data.options
    times = steps // run.get("trainer.test_freq") + 1
    each = times * run.get("actor_rollout_ref.rollout.val_kwargs.n")
    total = each * problems(options.get("validation", 0))
    for benchmark in run.recipe.evaluation.benchmarks.values():
        asked = options.get("tests", {}).get(Path(benchmark.file).stem, TEST_PROBLEMS)
        total += 2 * benchmark.samples * problems(asked)
    return total


def problems(asked: int | list[dict[str, Any]]) -> int:
    """How many an option of the data means: a number, or parts of published sets (from_sources)."""
    if isinstance(asked, int):
        return asked
    total = 0
    for part in asked:
        name, split = parse(part["source"])
        rows = get_source(name).splits[split].rows or TEST_PROBLEMS
        total += part.get("take") or rows - part.get("skip", 0)
    return total


def in_units(parts: dict[str, float], unit: float) -> dict[str, float]:
    """Every part in `unit`, and their `total`; infinite stays infinite."""
    scaled = {name: round(value / unit, 1) for name, value in parts.items()}
    return scaled | {"total": round(sum(parts.values()) / unit, 1)}


def estimate_warnings(run: RunConfig, found: dict[str, Any] | None) -> list[str]:
    """Where the estimate exceeds what the recipe has."""
    model = run.recipe.models[run.recipe.model]
    if found is None:
        unknown = model.hub is not None and model_config(model) is None
        where = "common/estimate/models.yaml"
        return [f"no estimate: {model.hub} is not in {where}"] if unknown else []
    warnings, size = [], run.recipe.gpu_memory_gib
    for phase in ("update", "rollout"):
        need = found[f"{phase}_gib"]["total"]
        if need > float(size or 0):
            warnings.append(f"about {need:g} GiB of a GPU's {size:g} in the {phase} phase")
    if found["full_sequences"] < 1:
        warnings.append("no sequence fits the KV cache; raise rollout.gpu_memory_utilization")
    if found["disk_gb"]["total"] > run.recipe.disk_gb:
        warnings.append(
            f"about {found['disk_gb']['total']:g} GB of disk are filled and "
            f"recipe.disk_gb={run.recipe.disk_gb:g}"
        )
    return warnings


def lines(found: dict[str, Any]) -> list[str]:
    """The estimate as lines of a terminal."""
    total, active = found["parameters"], found["active_parameters"]
    text = [f"estimate: {total / 1e9:.1f}B parameters, {active / 1e9:.1f}B active"]
    for title, key, unit in (
        ("a GPU, update", "update_gib", "GiB"),
        ("a GPU, rollout", "rollout_gib", "GiB"),
        ("head node", "host_gib", "GiB"),
        ("disk", "disk_gb", "GB"),
        ("a step", "step_seconds", "s"),
        ("the run", "gpu_hours", "GPU-hours"),
    ):
        parts = dict(found[key])
        whole = parts.pop("total")
        listed = ", ".join(f"{name} {value:g}" for name, value in parts.items() if value)
        text.append(f"  {title}: {whole:g} {unit} ({listed})")
    if found["served_gib"]:
        text.append(f"  a GPU, saved by the reference service: {found['served_gib']:g} GiB")
    text.append(f"  full-length sequences at once on a replica: {found['full_sequences']}")
    return text
