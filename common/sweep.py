"""A small sweep of one key on validation problems; the test set is never read."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table

from common.config import ROOT, RunConfig, recipe_folder, split_words
from common.pipeline import METHODS, plan, prepare
from common.process import end_left_over
from common.results.seal import read_sealed, sealed
from common.runs import STORE, locked, relative, write_json
from common.schema import Benchmark
from common.stages.rejection import sample
from common.stages.train import read_metrics


def sweep_key(recipe: str, words: list[str]) -> dict[str, Any]:
    """Train every asked arm at every value of the one key given as `key=a,b,c`.

    The score of a run is the mean of its last two validation accuracies; of an arm that is not
    validated while it trains, the accuracy of its model on the same problems, two samples each. The
    value with the highest score, averaged over seeds, is the arm's. Written to
    `results/<recipe>/sweep-<scale>.json`, run by run, each with its other overrides; returns that
    content.
    """
    folder = recipe_folder(recipe)
    _, overrides = split_words(words)
    listed = [o for o in overrides if "," in o and not o.partition("=")[2].startswith("[")]
    if len(listed) != 1:
        raise ValueError("sweep: give exactly one key a list of values, as key=1e-4,3e-4")
    key, _, values = listed[0].partition("=")
    others = sorted(o for o in overrides if o != listed[0])
    kept = [w for w in words if w != listed[0]]
    tried = [v for v in values.split(",") if v]
    own = plan(recipe, kept)
    # a value that the recipe has anyway is its own run, whose training is not repeated
    runs = [
        itself if itself.get(key) == run.get(key) else run
        for value in tried
        for run, itself in zip(plan(recipe, [*kept, f"{key}={value}"]), own, strict=True)
    ]
    path = ROOT / "results" / folder.name / f"sweep-{runs[0].scale}.json"
    found: dict[str, Any] = {}
    for run in runs:
        argv = ["sweep", run.name, *words]
        with locked(run.run_dir / "lock", None):
            end_left_over(run.run_dir)
            data, start = prepare(run, argv)
            model = METHODS[run.recipe.method](run, run.run_dir, data, start, argv)
            entry = {"score": validation_score(run, model), "with": others}
        lock = STORE / f"{folder.name}-{path.stem}.lock"
        with locked(lock, "sweep: another one is writing; waiting"):
            found = read_sealed(path) if path.exists() else {}
            arm = found.setdefault(run.variant, {}).setdefault(key, {})
            arm.setdefault(str(run.get(key)), {})[f"seed{run.seed}"] = entry
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, sealed(found))
    show(found, key, f"sweep of {folder.name}, {runs[0].scale}")
    return found


def show(found: dict[str, Any], key: str, title: str) -> None:
    """The scores of every arm, the best marked."""
    table = Table("arm", key, "validation accuracy", "seeds", title=title)
    for variant, keys in found.items():
        entries = keys.get(key, {})
        scores = {v: mean(e["score"] for e in seeds.values()) for v, seeds in entries.items()}
        for value, score in scores.items():
            best = " <- best" if score == max(scores.values()) else ""
            table.add_row(variant, value, f"{score:.4f}{best}", str(len(entries[value])))
    Console(stderr=True).print(table)


def validation_score(run: RunConfig, model: Path) -> float:
    """A run's score on the validation problems."""
    if run.recipe.method != "rl":
        sampling = {
            k: run.get(f"actor_rollout_ref.rollout.val_kwargs.{k}")
            for k in ("temperature", "top_p", "top_k")
        }
        validated = Benchmark(str(run.get("data.val_files")), samples=2)
        lines = sample(run, run.run_dir, model, run.run_dir / "validate", validated, sampling)
        return mean(line["accuracy"] for line in lines)
    logged = read_metrics(run.run_dir / "train" / "metrics.jsonl")
    steps = [json.loads(logged[step])["data"].items() for step in sorted(logged)]
    found = [[v for k, v in d if k.startswith("val-core/") and "mean@" in k] for d in steps]
    scores = [mean(values) for values in found if values]
    if len(scores) < 2:
        raise ValueError(
            f"{relative(run.run_dir)}: fewer than two validations; lower trainer.test_freq"
        )
    return mean(scores[-2:])
