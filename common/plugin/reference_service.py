"""Trainers `sync_reference_service` and `separate_async_reference_service`: a service gives the
log-probabilities of the reference policy, and no worker holds a reference model.

verl 0.9.1 has no such option: where a KL term is configured, the trainer gives the actor's workers
a second model (`Role.ActorRolloutRef`) or the reference workers of their own (`Role.RefPolicy`),
and asks those in `_compute_ref_log_prob`. A process registers these trainers when `RECIPE_TRAINER`
names this module (stages/train.py does so where `trainer.v1.trainer_mode` asks for one).
"""

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch
import transfer_queue as tq  # type: ignore[import-untyped]
from omegaconf import DictConfig
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import register_trainer
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from common.plugin.local_agent_loop import LocalAgentLoopManager
from common.schema import build
from common.services.client import Connection
from common.services.reference import ReferenceModel

KEY = "algorithm.reference_service"
START_S = 60.0  # for the service to answer when the trainer starts


class _ReferenceService:
    """Goes before one of verl's trainers. `algorithm.reference_service`: fields of
    `common.services.client.Connection`.

    While the service is away the step waits, as long as `wait_s` says, and then goes on. The
    log-probabilities are those of `rollout.temperature`, like verl's.

    It also saves the KL coefficient with each checkpoint: verl's adaptive controller
    (`algorithm.kl_ctrl.type=adaptive`) would begin anew when a run is resumed.

    Metrics: reference/seconds (of the requests of a step, waiting included), reference/tokens
    (whose log-probabilities were asked for).
    """

    mode: str  # what this trainer is to the rest of verl
    # of verl's trainer
    config: DictConfig
    global_steps: int
    use_reference_policy: bool
    ref_in_actor: bool
    role_worker_mapping: dict[Any, Any]
    mapping: dict[Any, str]
    actor_rollout_wg: Any
    kl_ctrl_in_reward: Any

    def __init__(self, config: DictConfig) -> None:
        where = build(Connection, dict(config.algorithm.reference_service), KEY)
        self.reference = ReferenceModel(
            **where.arguments(), temperature=config.actor_rollout_ref.rollout.temperature
        )
        self.reference.check(START_S)
        config.trainer.v1.trainer_mode = self.mode
        super().__init__(config)  # type: ignore[call-arg]
        if not self.use_reference_policy:
            raise ValueError(
                f"{KEY}: nothing asks for a reference policy; set algorithm.use_kl_in_reward or "
                f"actor_rollout_ref.actor.use_kl_loss, or trainer.v1.trainer_mode={self.mode}"
            )

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()  # type: ignore[misc]
        for table in (self.role_worker_mapping, self.mapping):
            table.pop(Role.RefPolicy, None)
            if Role.ActorRolloutRef in table:
                table[Role.ActorRollout] = table.pop(Role.ActorRolloutRef)

    def _setup(self) -> None:
        # with it, verl's set-up would ask for the workers of a reference model
        self.use_reference_policy = False
        super()._setup()  # type: ignore[misc]
        self.use_reference_policy = True
        if self.ref_in_actor:
            raise ValueError(
                f"{KEY}: the reference of LoRA is the model without its adapters, which the actor "
                f"has; set trainer.v1.trainer_mode={self.mode}"
            )
        self.ref_policy_wg = self.actor_rollout_wg  # verl's profiler goes over both

    def _compute_ref_log_prob(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """Write `ref_log_prob`, [tokens of each response], nats; 0 for rows of padding."""
        fields = tq.kv_batch_get(
            keys=batch.keys,
            partition_id=batch.partition_id,
            select_fields=["input_ids", "responses"],
        )
        lengths = [len(row) for row in fields["responses"]]
        asked = [i for i, tag in enumerate(batch.tags) if not tag.get("is_padding", False)]
        sequences = [row.tolist() for row in fields["input_ids"]]
        begun = time.perf_counter()
        found = self.reference.log_probs([sequences[i] for i in asked])
        metrics["reference/seconds"] = time.perf_counter() - begun
        metrics["reference/tokens"] = sum(lengths[i] for i in asked)
        rows = [torch.zeros(length) for length in lengths]
        for i, values in zip(asked, found, strict=True):
            rows[i] = torch.tensor(values[len(values) - lengths[i] :], dtype=torch.float32)
        nested = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
        tq.kv_batch_put(
            keys=batch.keys,
            partition_id=batch.partition_id,
            fields=TensorDict({"ref_log_prob": nested}, batch_size=len(rows)),
        )
        return batch

    def _save_checkpoint(self) -> None:
        if self.config.algorithm.use_kl_in_reward:
            path = self._coefficient()
            path.parent.mkdir(parents=True, exist_ok=True)
            # before verl's: what its tracker names is whole
            path.write_text(json.dumps({"kl_coef": float(self.kl_ctrl_in_reward.value)}))
        super()._save_checkpoint()  # type: ignore[misc]

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()  # type: ignore[misc]
        if self.global_steps and self.config.algorithm.use_kl_in_reward:
            self.kl_ctrl_in_reward.value = json.loads(self._coefficient().read_text())["kl_coef"]

    def _coefficient(self) -> Path:
        folder = Path(self.config.trainer.default_local_dir, f"global_step_{self.global_steps}")
        return folder / "kl_coefficient.json"


@register_trainer("sync_reference_service")
class SyncReferenceService(_ReferenceService, PPOTrainerSync):
    """verl's synchronous trainer; see `_ReferenceService`."""

    mode = "sync"


@register_trainer("separate_async_reference_service")
class SeparateAsyncReferenceService(_ReferenceService, PPOTrainerSeparateAsync):
    """verl's trainer beside standalone rollout workers; see `_ReferenceService`.

    verl asserts that the prompts of a step are `separate_async.parameter_sync_step` mini-batches,
    all of whose samples are trained on. A sampler that keeps k of n leaves fewer, so the size of a
    mini-batch is this trainer's own matter: `common.checks` sees that it divides what is left.
    """

    mode = "separate_async"

    def __init__(self, config: DictConfig) -> None:
        actor, steps = config.actor_rollout_ref.actor, config.trainer.v1.separate_async
        mini_batch = actor.ppo_mini_batch_size
        actor.ppo_mini_batch_size = config.data.train_batch_size // steps.parameter_sync_step
        super().__init__(config)
        actor.ppo_mini_batch_size = mini_batch

    def fit(self, agent_loop_manager: Any) -> None:
        super().fit(agent_loop_manager)
        if isinstance(agent_loop_manager, LocalAgentLoopManager):
            agent_loop_manager.close()  # it could not write what it still answers

    def _setup(self) -> None:
        # without hybrid replicas verl 0.9.1 gives a logger print's `flush`, a TypeError where the
        # line is logged (trainer_separate_async.py, the end of `_setup`)
        verls = logging.getLogger(PPOTrainerSeparateAsync.__module__)
        level = verls.level
        verls.setLevel(logging.WARNING)
        super()._setup()
        verls.setLevel(level)
