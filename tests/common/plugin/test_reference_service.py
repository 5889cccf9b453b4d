"""The reference policy as a service: which workers verl makes, and what reaches its queue."""

import inspect
import logging
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import trainer_base
from verl.trainer.ppo.v1.trainer_base import PPOTrainer
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync

from common.plugin import reference_service
from common.plugin.reference_service import SeparateAsyncReferenceService, SyncReferenceService
from common.services.reference import ReferenceModel

verls_setup = PPOTrainerSeparateAsync._setup


@pytest.fixture(autouse=True)
def service(monkeypatch):
    """A service that gives minus the token's number, and is there."""
    monkeypatch.setattr(ReferenceModel, "check", lambda self, wait_s: None)
    monkeypatch.setattr(
        ReferenceModel, "log_probs", lambda self, ids: [[-float(i) for i in row[1:]] for row in ids]
    )
    monkeypatch.setattr(trainer_base.ray, "remote", lambda cls: cls)


def make(cls, tmp_path, kl=True, **trainer):
    actor = {"use_kl_loss": False, "strategy": "fsdp2", "ppo_mini_batch_size": 2}
    config = {
        "algorithm": {
            "use_kl_in_reward": kl,
            "kl_ctrl": {"type": "adaptive", "kl_coef": 0.05, "target_kl": 6, "horizon": 100},
            "reference_service": {"address": "http://127.0.0.1:9/v1/completions", "wait_s": 1},
        },
        "actor_rollout_ref": {"actor": actor, "model": {}, "rollout": {"temperature": 0.5}},
        "critic": {"enable": True},
        "data": {"train_batch_size": 8},
        "reward": {"reward_model": {"enable_resource_pool": False}},
        "trainer": {
            "v1": {"trainer_mode": "ours", "separate_async": {"parameter_sync_step": 1}},
            "n_gpus_per_node": 1,
            "nnodes": 1,
            "default_local_dir": str(tmp_path),
        },
    }

    def verls(self, config):
        if cls is SeparateAsyncReferenceService:  # what verl asserts
            assert config.actor_rollout_ref.actor.ppo_mini_batch_size == 8
        self.config = config
        self.use_reference_policy = trainer_base.need_reference_policy(config)
        self.kl_ctrl_in_reward = trainer_base.core_algos.get_kl_controller(config.algorithm.kl_ctrl)
        self.global_steps = 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cls.__mro__[2], "__init__", verls)
        return cls(OmegaConf.create(config))


def test_no_worker_holds_a_reference_model(tmp_path):
    """verl's own trainer would ask for one, by the names that this test should find again."""
    trainer = make(SyncReferenceService, tmp_path)
    PPOTrainer._init_resource_pool_mgr(trainer)
    assert Role.ActorRolloutRef in trainer.role_worker_mapping
    trainer._init_resource_pool_mgr()
    assert set(trainer.role_worker_mapping) == {Role.ActorRollout, Role.Critic}
    assert trainer.resource_pool_manager.mapping[Role.ActorRollout] == "global_pool"
    assert Role.ActorRolloutRef not in trainer.resource_pool_manager.mapping
    assert trainer.config.trainer.v1.trainer_mode == "sync"

    trainer = make(SeparateAsyncReferenceService, tmp_path)
    assert trainer.config.actor_rollout_ref.actor.ppo_mini_batch_size == 2
    trainer._enable_hybrid_replicas = False
    PPOTrainer._init_resource_pool_mgr(trainer)
    assert Role.RefPolicy in trainer.role_worker_mapping
    trainer._init_resource_pool_mgr()
    assert set(trainer.role_worker_mapping) == {Role.Actor, Role.Critic}
    assert trainer.role_worker_mapping[Role.Actor].__name__ == "DetachActorWorker"


def test_set_up_without_and_training_with_a_reference(tmp_path, monkeypatch):
    trainer, seen = make(SyncReferenceService, tmp_path), []

    def setup(self):
        seen.append(self.use_reference_policy)
        self.ref_in_actor, self.actor_rollout_wg = False, "workers"

    monkeypatch.setattr(PPOTrainer, "_setup", setup)
    trainer._setup()
    assert seen == [False] and trainer.use_reference_policy


def test_verls_line_about_missing_replicas_is_not_logged(tmp_path, monkeypatch):
    """It gives a logger print's `flush`; should verl mend that, the level is to be left alone."""
    trainer = make(SeparateAsyncReferenceService, tmp_path)
    verls = logging.getLogger(PPOTrainerSeparateAsync.__module__)
    monkeypatch.setattr(verls, "level", logging.INFO)

    def setup(self):
        self.ref_in_actor, self.actor_rollout_wg = False, "workers"
        verls.info("never", flush=True)

    monkeypatch.setattr(PPOTrainerSeparateAsync, "_setup", setup)
    trainer._setup()
    assert verls.level == logging.INFO
    with pytest.raises(TypeError, match="flush"):
        verls.info("so it would have been", flush=True)
    assert "flush=True" in inspect.getsource(verls_setup)


def nested(rows):
    return torch.nested.as_nested_tensor([torch.tensor(r) for r in rows], layout=torch.jagged)


def test_the_services_numbers_of_the_responses_reach_the_queue(tmp_path, monkeypatch):
    written = {}
    fields = {
        "input_ids": nested([[9, 8, 1, 2], [7, 3], [0, 0, 0, 5]]),
        "responses": nested([[1, 2], [3], [5]]),
    }
    fake = SimpleNamespace(
        kv_batch_get=lambda keys, partition_id, select_fields: TensorDict(fields, batch_size=3),
        kv_batch_put=lambda keys, partition_id, fields: written.update(fields.items()),
    )
    monkeypatch.setattr(reference_service, "tq", fake)
    tags = [{}, {"is_padding": False}, {"is_padding": True}]
    batch = SimpleNamespace(keys=["a", "b", "p"], partition_id="train", tags=tags)
    metrics = {}
    assert make(SyncReferenceService, tmp_path)._compute_ref_log_prob(batch, metrics) is batch
    rows = [row.tolist() for row in written["ref_log_prob"].unbind()]
    assert rows == [[-1.0, -2.0], [-3.0], [0.0]]
    assert metrics["reference/tokens"] == 3


def test_the_coefficient_of_the_adaptive_controller_survives(tmp_path, monkeypatch):
    """verl neither saves nor loads it; should it begin to, this is to go."""
    monkeypatch.setattr(PPOTrainer, "_save_checkpoint", lambda self: None)
    monkeypatch.setattr(
        PPOTrainer, "_load_checkpoint", lambda self: setattr(self, "global_steps", 3)
    )
    trainer = make(SyncReferenceService, tmp_path)
    trainer.kl_ctrl_in_reward.update(current_kl=60.0, n_steps=10)  # ten times the target
    trainer.global_steps = 3
    trainer._save_checkpoint()
    resumed = make(SyncReferenceService, tmp_path)
    resumed._load_checkpoint()
    assert resumed.kl_ctrl_in_reward.value == trainer.kl_ctrl_in_reward.value == 0.05 * 1.02


def test_a_reference_that_nothing_asks_for_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing asks for a reference policy"):
        make(SyncReferenceService, tmp_path, kl=False)
