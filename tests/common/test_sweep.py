"""Which runs a sweep makes, and what it writes of them; nothing is trained here."""

import pytest

from common import sweep
from common.config import recipe_folder
from common.results.seal import read_sealed


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """The names of the runs that a sweep trains, each scored by its learning rate."""
    found = []
    for name in ("common.sweep.ROOT", "common.sweep.STORE"):
        monkeypatch.setattr(name, tmp_path)
    monkeypatch.setattr(sweep, "prepare", lambda *_: (tmp_path, tmp_path))
    monkeypatch.setattr(sweep, "train", lambda run, *_: found.append((run.variant, run.label)))
    monkeypatch.setattr(sweep, "validation_score", lambda folder: float("+" not in str(folder)))
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


def test_only_rl_is_swept(trained):
    words = ["variant=rft", "actor_rollout_ref.actor.optim.lr=1e-4,3e-4"]
    with pytest.raises(ValueError, match="rft has recipe.method=rejection"):
        sweep.sweep_key(str(recipe_folder("logic_rl")), words)
    assert not trained
