"""`diff`: which keys differ, by what they decide, and where the files say a value comes from."""

from pathlib import Path

import pytest

from common import cli
from common.config import ROOT
from common.differences import ALGORITHMIC, LOGGING, SCALE, Side, comments, compare, kind_of, side


def one(**config: object) -> Side:
    return Side("x", Path("x"), "v", dict(config), {})


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("actor_rollout_ref.actor.clip_ratio_low", ALGORITHMIC),
        ("actor_rollout_ref.actor.optim.lr", ALGORITHMIC),
        ("actor_rollout_ref.actor.ppo_mini_batch_size", ALGORITHMIC),
        ("actor_rollout_ref.rollout.n", ALGORITHMIC),
        ("algorithm.adv_estimator", ALGORITHMIC),
        ("data.train_batch_size", ALGORITHMIC),
        ("recipe.evaluation.temperature", ALGORITHMIC),
        ("recipe.evaluation.benchmarks.test.grader", ALGORITHMIC),
        ("recipe.routing_replay", ALGORITHMIC),
        ("recipe.sft.phases", ALGORITHMIC),
        ("a.key.that.nobody.thought.of", ALGORITHMIC),
        ("actor_rollout_ref.actor.fsdp_config.seed", SCALE),
        ("actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu", SCALE),
        ("data.max_response_length", SCALE),
        ("recipe.models.moe.hub", SCALE),
        ("trainer.n_gpus_per_node", SCALE),
        ("trainer.total_training_steps", SCALE),
        ("trainer.project_name", LOGGING),
        ("trainer.save_freq", LOGGING),
    ],
)
def test_kinds(key: str, kind: str) -> None:
    assert kind_of(key) == kind


def test_a_subtree_that_one_side_lacks_is_one_difference() -> None:
    a = one(x={"same": 1, "lr": 0.1}, warm={"a": {"b": 1, "c": 2}}, none=None)
    b = one(x={"same": 1, "lr": 0.2})
    assert [(d.key, d.a, d.b) for d in compare(a, b)] == [
        ("warm", "(2 keys)", None),
        ("x.lr", 0.1, 0.2),
    ]
    assert compare(a, a) == []
    off = [one(critic={"enable": False, "lr": lr}) for lr in (1, 2)]
    assert compare(*off) == [] and len(compare(off[0], one(critic={"lr": 2}))) == 2


def test_comments_are_found_by_key() -> None:
    text = 'a:\n  b: 1  # paper §2\n  c: {d: 2, e: "#3"}  # ours: why\nf: 4\n'
    found = comments(text)
    assert (found["a.b"], found["a.c.d"], found["f"]) == ("paper §2", "ours: why", "")


def test_arms_differ_in_what_their_files_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diff", "gspo_moe", "gspo_moe/grpo", "--json"]) == 0
    assert '"kind": "algorithmic"' in capsys.readouterr().out
    found = {d.key: d for d in compare(side("gspo_moe"), side("gspo_moe/micro/grpo"))}
    actor = "actor_rollout_ref.actor"
    assert set(found) == {
        *(f"{actor}.clip_ratio_high", f"{actor}.clip_ratio_low"),
        *(f"{actor}.policy_loss.loss_mode", "recipe.variant"),
    }
    low = found[f"{actor}.clip_ratio_low"]
    assert (low.a, low.b, low.kind) == (3e-4, 0.2, ALGORITHMIC) and "paper" in low.source


def test_a_run_beside_the_paper() -> None:
    run = side(str(ROOT / "results/gspo_moe/micro/gspo-seed1.json"))
    paper = side("paper", run)
    found = {d.key: d for d in compare(run, paper)}
    assert paper.variant == "gspo" and found["actor_rollout_ref.rollout.n"].b == 16
    algorithmic = {k for k, d in found.items() if d.kind == ALGORITHMIC}
    assert {"data.train_batch_size", "actor_rollout_ref.actor.optim.lr"} <= algorithmic
    assert not [k for k in algorithmic if "fsdp" in k or "veomni" in k or ".models." in k]
    assert found["trainer.n_gpus_per_node"].kind == SCALE


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["gspo_moe/grop", "gspo_moe"], "no scale or variant 'grop'"),
        (["paper", "gspo_moe"], "the paper's setting needs a run"),
        (["runs/gspo_moe/micro/never/seed1", "gspo_moe"], "no record there"),
        (["gspo", "gspo_moe"], "no recipe 'gspo'"),
    ],
)
def test_a_wrong_word_is_one_line(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["diff", *words]) == 2
    error = capsys.readouterr().err
    assert text in error and error.count("\n") == 1
