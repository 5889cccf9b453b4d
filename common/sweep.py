"""A small sweep of one key on validation problems; the test set is never read."""

from __future__ import annotations

import json
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table

from common.config import ROOT, recipe_folder, split_words
from common.pipeline import plan, prepare
from common.runs import locked, write_json
from common.stages.train import read_metrics, train


def sweep_key(recipe: str, words: list[str]) -> dict[str, Any]:
    """Train every asked arm at every value of the one key given as `key=a,b,c`.

    The score of a run is the mean of its last two validation accuracies; the value with the
    highest score, averaged over seeds, is the arm's. Written to
    `results/<recipe>/sweep-<scale>.json`, arm by arm; returns that content.
    """
    folder = recipe_folder(recipe)
    _, overrides = split_words(words)
    listed = [o for o in overrides if "," in o and not o.partition("=")[2].startswith("[")]
    if len(listed) != 1:
        raise ValueError("sweep: give exactly one key a list of values, as key=1e-4,3e-4")
    key, _, values = listed[0].partition("=")
    kept = [w for w in words if w != listed[0]]
    runs = [run for v in values.split(",") for run in plan(recipe, [*kept, f"{key}={v}"])]
    scale = runs[0].scale
    path = ROOT / "results" / folder.name / f"sweep-{scale}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for run in runs:
        with locked(run.run_dir / "lock", None):
            data, start = prepare(run)
            train(run, run.run_dir, data, start)
        arm = found.setdefault(run.variant, {}).setdefault(key, {})
        scores = arm.setdefault(str(run.get(key)), {})
        scores[f"seed{run.seed}"] = validation_score(run.run_dir)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
    title = f"sweep of {folder.name}, {scale}"
    table = Table("arm", key, "validation accuracy", "seeds", title=title)
    for variant, keys in found.items():
        scored = {value: mean(seeds.values()) for value, seeds in keys.get(key, {}).items()}
        for value, score in scored.items():
            best = " <- best" if score == max(scored.values()) else ""
            table.add_row(variant, value, f"{score:.4f}{best}", str(len(keys[key][value])))
    Console(stderr=True).print(table)
    return found


def validation_score(run_dir: Any) -> float:
    """Mean of the last two validation accuracies of a run."""
    lines = read_metrics(run_dir / "train" / "metrics.jsonl")
    scores = [
        value
        for step in sorted(lines)
        for name, value in json.loads(lines[step])["data"].items()
        if name.startswith("val-core/") and "mean@" in name
    ]
    if len(scores) < 2:
        raise ValueError(f"{run_dir}: fewer than two validations; lower trainer.test_freq")
    return mean(scores[-2:])
