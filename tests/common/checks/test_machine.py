"""What a machine or a cluster lacks, in one line each."""

import pytest

from common.checks import machine
from common.config import compose_run, recipe_folder

GSPO = recipe_folder("gspo_moe")
TWO_NODES = (
    "trainer.nnodes=2",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=64",
)


def faults(*overrides, scale="micro"):
    return machine.machine_faults(compose_run(GSPO, scale, "gspo", 1, list(overrides)))


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_several_nodes_need_a_cluster():
    assert not faults()
    (fault,) = faults(*TWO_NODES)
    assert "trainer.nnodes=2" in fault and "ray start" in fault and "RAY_ADDRESS" in fault


def test_gpus_are_counted(monkeypatch):
    for there, refused in ((7, True), (8, False)):
        monkeypatch.setattr(machine, "visible_gpus", lambda n=there: n)
        found = faults("recipe.disk_gb=0", scale="node8")
        assert bool(found) is refused, found


def test_what_runs_code_needs_a_sandbox(monkeypatch):
    def refuse():
        raise ValueError("code cannot be run safely here: seccomp; set SANDBOX_URL")

    monkeypatch.setattr(machine, "visible_gpus", lambda: 8)
    monkeypatch.setattr("common.sandbox.runner.protections", refuse)
    monkeypatch.delenv("SANDBOX_URL", raising=False)
    assert not faults()  # micro runs none
    (fault,) = faults("recipe.disk_gb=0", scale="node8")
    assert "set SANDBOX_URL" in fault
    monkeypatch.setenv("SANDBOX_URL", "http://sandbox:8080/run_code")
    assert not faults("recipe.disk_gb=0", scale="node8")


def test_a_full_disk_is_a_fault():
    (fault,) = faults("recipe.disk_gb=1e9")
    assert "GB of disk are free" in fault and "free some space" in fault


@pytest.mark.parametrize(
    ("gpus", "ok"), [([1, 1], True), ([1], False), ([2, 0], False), ([1, 1, 0], True)]
)
def test_every_node_of_a_cluster_must_have_the_gpus(monkeypatch, gpus, ok):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(machine, "cluster_gpus", lambda address: gpus)
    found = faults(*TWO_NODES)
    assert (not found) is ok, found
    assert ok or ("trainer.nnodes=2" in found[0] and str(gpus) in found[0])


def test_a_ray_client_is_refused(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://10.0.0.1:10001")
    (fault,) = faults()
    assert "Ray client" in fault


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    (fault,) = faults()
    assert fault.startswith("RAY_ADDRESS=127.0.0.1:9: nothing answers") and "\n" not in fault
