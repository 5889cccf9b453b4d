"""A small sweep of one key on validation problems; the test set is never read."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table

from common.config import ROOT, recipe_folder, split_words
from common.pipeline import plan, prepare
from common.process import end_left_over
from common.results.seal import read_sealed, sealed
from common.runs import STORE, locked, relative, write_json
from common.stages.train import read_metrics, train


def sweep_key(recipe: str, words: list[str]) -> dict[str, Any]:
    """Train every asked arm at every value of the one key given as `key=a,b,c`.

    The score of a run is the mean of its last two validation accuracies; the value with the
    highest score, averaged over seeds, is the arm's. Written to
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
    for run in own:
        if run.recipe.method != "rl":
            raise ValueError(
                f"sweep: {run.variant} has recipe.method={run.recipe.method}; only RL is validated "
                "while it trains"
            )
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
            train(run, run.run_dir, data, start, argv)
        entry = {"score": validation_score(run.run_dir), "with": others}
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


def validation_score(run_dir: Path) -> float:
    """Mean of the last two validation accuracies of a run, each averaged over its sets."""
    lines = read_metrics(run_dir / "train" / "metrics.jsonl")
    logged = [json.loads(lines[step])["data"].items() for step in sorted(lines)]
    found = [[v for k, v in d if k.startswith("val-core/") and "mean@" in k] for d in logged]
    scores = [mean(values) for values in found if values]
    if len(scores) < 2:
        raise ValueError(
            f"{relative(run_dir)}: fewer than two validations; lower trainer.test_freq"
        )
    return mean(scores[-2:])
