"""Which runs a sweep makes, and what it writes of them; nothing is trained here."""

import pytest

from common import sweep
from common.config import recipe_folder
from common.results.seal import read_sealed
from tests.composed import composed


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """The names of the runs that a sweep trains, each scored by its learning rate."""
    found = []
    for name in ("common.sweep.ROOT", "common.sweep.STORE"):
        monkeypatch.setattr(name, tmp_path)
    monkeypatch.setattr(sweep, "prepare", lambda *_: (tmp_path, tmp_path))

    def train(run, *_):
        found.append((run.variant, run.label))
        return tmp_path

    monkeypatch.setattr(sweep, "METHODS", {"rl": train, "rejection": train})
    monkeypatch.setattr(sweep, "validation_score", lambda run, _: float("+" not in run.label))
    return found


def test_a_value_that_the_recipe_has_is_its_own_run(trained, tmp_path):
    words = ["variant=grpo,gspo", "actor_rollout_ref.actor.optim.lr=1e-4,3e-4"]
    written = sweep.sweep_key(str(recipe_folder("gspo_moe")), words)
    assert [v for v, _ in trained] == ["grpo", "gspo"] * 2
    assert [label for _, label in trained][2:] == ["grpo", "gspo"]
    assert all(label.startswith(f"{v}+") for v, label in trained[:2])
    key = "actor_rollout_ref.actor.optim.lr"
    assert written["gspo"][key] == {
        "0.0001": {"seed1": {"score": 0.0, "with": []}},
        "0.0003": {"seed1": {"score": 1.0, "with": []}},
    }
    assert read_sealed(tmp_path / "results/gspo_moe/sweep-micro.json") == written


def test_an_arm_without_rl_is_swept_at_its_own_key(trained, tmp_path):
    words = ["variant=rft", "recipe.learning_rate.rejection=1e-4,3e-4"]
    written = sweep.sweep_key(str(recipe_folder("logic_rl")), words)
    assert [label for _, label in trained][1] == "rft"
    scores = written["rft"]["recipe.learning_rate.rejection"]
    assert {rate: found["seed1"]["score"] for rate, found in scores.items()} == {
        "0.0001": 0.0,
        "0.0003": 1.0,
    }


def test_its_score_is_that_of_its_model_on_the_validation_problems(monkeypatch, tmp_path):
    """And neither that of the test problems nor of the responses that it was taught."""
    asked = []

    def sample(run, run_dir, model, folder, benchmark, sampling):
        asked.append((model, folder.name, benchmark.file, sampling["temperature"]))
        return [{"accuracy": 1.0}, {"accuracy": 0.0}, {"accuracy": 0.0}, {"accuracy": 0.0}]

    monkeypatch.setattr(sweep, "sample", sample)
    run = composed("logic_rl", "micro", "rft")
    assert sweep.validation_score(run, tmp_path) == 0.25
    temperature = run.get("actor_rollout_ref.rollout.val_kwargs.temperature")
    assert asked == [(tmp_path, "validate", "data/validation.parquet", temperature)]
