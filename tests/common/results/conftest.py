"""A small, valid record and a recipe folder, made anew for every test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.results.provenance import sha256_json
from common.results.record import SCHEMA, compute_metrics

SHA = "0123456789abcdef" * 4
Make = Callable[..., dict[str, Any]]


def problems(accuracy: float, seed: int, count: int = 40, samples: int = 8) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    correct = draw.binomial(samples, accuracy, count)
    return {
        "id": [f"p{i}" for i in range(count)],
        "n": [samples] * count,
        "c": [int(c) for c in correct],
    }


@pytest.fixture
def make_record() -> Make:
    def make(
        variant: str = "gspo",
        seed: int = 1,
        scale: str = "micro",
        accuracy: float = 0.6,
        clip: float = 0.2,
        lr: float = 1e-4,
        benchmark: str = "test",
        steps: int = 30,
        **changes: Any,
    ) -> dict[str, Any]:
        noise = np.random.default_rng([seed, len(variant)]).normal(1, 0.05, steps)
        counts = {
            benchmark: problems(accuracy, seed),
            f"{benchmark}@base": problems(0.3, 100 + seed),
        }
        config = {"actor_rollout_ref": {"actor": {"optim": {"lr": lr}}}, "recipe": {"seed": seed}}
        validation = [0.5 if i % 10 == 0 else None for i in range(steps)]
        curves = {
            "actor/pg_clipfrac": [float(clip * n) for n in noise],
            "actor/token_log_ratio_var": [float(0.002 * n) for n in noise],
            "actor/sequence_log_ratio_var": [float(0.0003 * n) for n in noise],
            "response_length/mean": [24.0] * steps,
            "critic/score/mean": [float(0.5 * n) for n in noise],
            "val-core/chain/acc/mean@1": validation,
        }
        record = {
            "schema": SCHEMA,
            "recipe": "demo",
            "scale": scale,
            "variant": variant,
            "seed": seed,
            "argv": ["run", "demo"],
            "overrides": [],
            "config": config,
            "config_sha256": sha256_json(config),
            "forked_from": None,
            "provenance": {
                "git": {"commit": "a" * 40, "dirty": False, "diff_sha256": None},
                "packages": {"verl": "0.9.1"},
                "lock": {"file": "micro.txt", "sha256": SHA},
                "hardware": {"cpu": "A CPU", "cores": 2, "memory_gb": 8.0, "gpus": []},
                "started": "2026-01-01T00:00:00Z",
                "finished": "2026-01-01T00:05:00+00:00",
            },
            "data": {"train": {"rows": 10, "sha256": SHA}},
            "prompt_template_sha256": SHA,
            "grader": {"name": "chain", "version": "1"},
            "wall_time_s": {"train": 200.0, "evaluate": 20.0 + seed},
            "tokens": {"prompt": 100, "response": 200},
            "gpu_hours": 0.0,
            "resumes": [],
            "metrics": compute_metrics(counts),
            "problems": counts,
            "curves": {"steps": list(range(1, steps + 1)), "metrics": curves},
        }
        return record | changes

    return make


PAPER = """\
metric,variant,benchmark,value,unit,source,status,note
actor/pg_clipfrac,gspo,,0.15,share,"Figure 2, left",secondary,read off
accuracy,gspo,aime24,70,%,Table 1,printed,
accuracy,before RL,aime24,50,%,Table 1,printed,
accuracy,grpo,aime24,,%,Figure 1,not printed,a curve
"""
CLAIMS = """\
- id: clip
  text: GSPO clips more
  kind: mechanism
  source: Figure 2
  informed_by: pilot
  paper: {value: 115, note: "0.15 over 0.0013"}
  expression: "mean(gspo, 'actor/pg_clipfrac') / mean(grpo, 'actor/pg_clipfrac')"
  band: [10, null]
- id: score
  text: GSPO ends higher
  kind: outcome
  source: Figure 1
  informed_by: null
  paper: {value: null, note: "a curve | no number"}
  expression: "accuracy(gspo, 'test') - accuracy(grpo, 'test')"
  band: [0, null]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "recipes" / "demo"
    for group, names in (("variant", ("gspo", "grpo", "never")), ("scale", ("micro", "node8"))):
        (folder / group).mkdir(parents=True)
        for name in names:
            (folder / group / f"{name}.yaml").write_text("{}\n")
    (folder / "paper.csv").write_text(PAPER)
    (folder / "claims.yaml").write_text(CLAIMS)
    return folder
