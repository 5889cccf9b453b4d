"""What `import verl` registers, with and without the CPU switch, in fresh processes."""

import os
from pathlib import Path

import pytest

from tests.common.plugin.rank import printed

ROOT = Path(__file__).parents[3]
LOSSES = {"grpo_token", "token_mean_by_rows", "gspo_sequence", "gspo_token", "gspo_unnormalized"}
REPORT = """
import json, sys
import verl
loaded = sorted(m for m in sys.modules if m.startswith("common.plugin."))
from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
from verl.plugin.platform import PlatformRegistry
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY
from verl.workers.engine import EngineRegistry
from verl.workers.rollout.base import _ROLLOUT_REGISTRY
from verl.workers.rollout.replica import RolloutReplicaRegistry
import torch
engines = EngineRegistry._engines
print(json.dumps({
    "loaded": loaded,
    "losses": list(POLICY_LOSS_REGISTRY),
    "agent_loops": list(_agent_loop_registry),
    "platform": "cpu" in PlatformRegistry.registered_names(),
    "backend": "cpu:gloo,cpu:gloo" in torch.distributed.Backend.backend_list,
    "engines": {k: v.get("fsdp2", {}).get("cpu", object).__name__ for k, v in engines.items()},
    "cuda": {str(k): e.__name__ for k, e in engines["language_model"]["fsdp2"].items()},
    "cuda_critic": {str(k): e.__name__ for k, e in engines["value_model"]["fsdp2"].items()},
    "replica": RolloutReplicaRegistry.get("transformers").__name__,
    "vllm": [_ROLLOUT_REGISTRY["vllm", "async"], RolloutReplicaRegistry._registry["vllm"].__name__],
}))
"""


def report(code=REPORT, **environment):
    inherited = {k: v for k, v in os.environ.items() if k not in ("VERL_PLATFORM", "RANK")}
    plugin = {"VERL_USE_EXTERNAL_MODULES": "common.plugin", "PYTHONPATH": str(ROOT)}
    return printed(code, env=inherited | plugin | environment, timeout=120, cwd="/")


@pytest.mark.component
def test_without_the_switch_nothing_of_the_cpu_is_registered():
    found = report(RANK="0", WORLD_SIZE="1")
    assert set(found["losses"]) > LOSSES
    assert "seeded_single_turn" in found["agent_loops"]
    assert found["replica"] == "TransformersReplica"
    assert found["vllm"] == ["verl.workers.rollout.vllm_rollout.ServerAdapter", "_load_vllm"]
    assert not found["platform"] and not found["backend"]
    assert set(found["engines"].values()) == {"object"}
    assert "common.plugin.platform_cpu" not in found["loaded"]
    # beside verl's own, not in its place
    assert found["cuda"]["('cuda', 'nvidia')"] == "CUDAReplayEngine"
    assert found["cuda"]["cuda"] == "FSDPEngineWithLMHead"
    assert found["cuda_critic"]["('cuda', 'nvidia')"] == "CUDAEngineWithValueHead"


@pytest.mark.component
def test_with_the_switch_a_trainer_process_has_the_engines():
    found = report(VERL_PLATFORM="cpu", RANK="0", WORLD_SIZE="1")
    assert set(found["losses"]) > LOSSES
    assert found["platform"] and found["backend"]
    assert found["engines"]["language_model"] == "CPUReplayEngine"
    assert found["engines"]["value_model"] == "CPUEngineWithValueHead"
    assert found["vllm"] == ["verl.workers.rollout.vllm_rollout.ServerAdapter", "_load_vllm"]


@pytest.mark.component
def test_with_the_switch_other_processes_skip_the_engines():
    found = report(VERL_PLATFORM="cpu")
    assert found["platform"]
    assert "common.plugin.engines" not in found["loaded"]
    assert not LOSSES & set(found["losses"])
    assert "common.plugin.agent_loop" not in found["loaded"]  # local_agent_loop brings it
    assert "common.plugin.rollout_server" not in found["loaded"]  # only where a server starts


@pytest.mark.component
@pytest.mark.parametrize("first", ["verl", "common.plugin.rollout_server"])
def test_a_trainer_that_a_run_asks_for_is_registered_whatever_is_imported_first(first):
    """A Ray actor of ours imports its class, and so this package, before it imports verl."""
    code = f"""
import json, {first}
from verl.trainer.ppo.v1.trainer_base import get_trainer_cls
print(json.dumps(get_trainer_cls("sync_token_selection").__name__))
"""
    trainer = "common.plugin.token_selection"
    assert report(code, VERL_PLATFORM="cpu", RECIPE_TRAINER=trainer) == "TokenSelectionTrainer"
