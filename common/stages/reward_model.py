"""Stage `reward_model`: a reward model from the hub, or the base trained on preferences."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from common.config import RunConfig
from common.console import say
from common.process import environment, run_child
from common.runs import STAGE_FILE, read_json, shared_stage, source_digest, write_json
from common.stages.prepare_model import download
from common.stages.progress import Follower


def reward_model(run: RunConfig, data: Path, base: Path) -> Path:
    """The folder whose `model/` is the recipe's reward model.

    `data`, `base`: the stages `data` and `sft`; it starts from the latter's weights.
    """
    spec = run.recipe.reward_model
    assert spec is not None
    if spec.hub is not None:
        hub, revision = spec.hub, spec.revision

        def fetch(folder: Path) -> None:
            download(folder / "model", hub, revision)

        return shared_stage("reward_model", {"hub": hub, "revision": revision}, fetch, True)
    inputs = {
        "options": asdict(spec),
        "seed": run.seed,
        "data": read_json(data / STAGE_FILE)["key"],
        "start": read_json(base / STAGE_FILE)["key"],
        "source": source_digest("common/stages/bradley_terry.py"),
    }

    def make(folder: Path) -> None:
        values = {
            "reward_model": asdict(spec),
            "seed": run.seed,
            "start": str((base / "model").resolve()),
            "train": str((data / Path(str(spec.train)).name).resolve()),
            "validation": str((data / Path(str(spec.validation)).name).resolve()),
            "device": "cpu" if run.recipe.platform == "cpu" else "cuda",
        }
        write_json(folder / "spec.json", values)
        say(f"reward model: {spec.steps} steps of {spec.batch_size} pairs")
        columns = {"loss": "train/loss", "accuracy": "train/accuracy"}
        follower = Follower("reward model", folder / "metrics.jsonl", spec.steps, columns)
        env = environment(run.recipe.platform)
        with follower:
            run_child(
                ["-m", "common.stages.bradley_terry", str(folder / "spec.json")],
                env,
                folder / "log.txt",
                follower.poll,
            )
        (folder / "spec.json").unlink()  # it names this machine's paths
        found = read_json(folder / "metrics.json")
        say("reward model: held out: " + ", ".join(f"{k} {v:.3f}" for k, v in found.items()))

    return shared_stage("reward_model", inputs, make)
