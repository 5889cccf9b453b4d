"""What this repository adds to verl 0.9.1, by registration only: verl is not patched or copied.

`import verl` loads this module in every process when `VERL_USE_EXTERNAL_MODULES=common.plugin` is
set, and fails loudly if it cannot. `PYTHONPATH` must hold the absolute repository root, because Ray
workers start elsewhere.

| name | kind | file |
|---|---|---|
| grpo_token, token_mean_by_rows | policy losses over tokens | policy_losses.py |
| gspo_sequence, gspo_token, gspo_unnormalized | policy losses over responses | policy_losses.py |
| weighted_signs | advantage estimator | advantages.py, with the sampler |
| sync_token_selection (where a run asks for it) | trainer | token_selection.py |
| sync_reference_service, separate_async_reference_service | trainers | reference_service.py |
| seeded_single_turn | agent loop | agent_loop.py |
| transformers | rollout backend | rollout_server.py |
| fsdp2 | engines with a seeded start | engines.py, seeded.py |
| fsdp2 | the actor's with routing replay, and merged exports of LoRA | routing_replay.py, lora.py |
| cpu (only with `VERL_PLATFORM=cpu`) | platform, engines | platform_cpu.py, engines.py |

`sampler.GroupReplayBuffer` and its asynchronous twin, `local_agent_loop.LocalAgentLoopManager` and
the classes of `sft_dataset` need no registration: keys of verl's configuration name them. One key
also names checkpoint_engine.py, which registers the checkpoint engine `gloo`.
The switch is explicit because Ray also runs CPU-only processes on machines with GPUs.
"""

import importlib
import os

from verl.workers.rollout.base import _ROLLOUT_REGISTRY
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry


def _load_replica() -> type[RolloutReplica]:
    from common.plugin.rollout_server import TransformersReplica

    return TransformersReplica


RolloutReplicaRegistry.register("transformers", _load_replica)
# The one write to a non-public name: verl has a registry of trainer-side adapters, but no function
# that adds to it.
_ROLLOUT_REGISTRY["transformers", "async"] = "common.plugin.rollout_server.ServerAdapter"

_ON_CPU = os.environ.get("VERL_PLATFORM") == "cpu"
if _ON_CPU:
    from common.plugin import platform_cpu  # noqa: F401
else:
    # on a CPU local_agent_loop imports it, and no other process waits for what it imports
    from common.plugin import agent_loop  # noqa: F401  (registered by its import)

# Losses and engines live in trainer processes only, and those always have a rank (from verl's
# worker group or from torchrun). The other processes of a run need not wait for this import.
if "RANK" in os.environ:
    from verl.workers.engine import EngineRegistry

    from common.plugin import policy_losses  # noqa: F401  (registered by its import)
    from common.plugin.engines import CPUEngineWithValueHead, CUDAEngineWithValueHead
    from common.plugin.routing_replay import CPUReplayEngine, CUDAReplayEngine

    if _ON_CPU:
        EngineRegistry.register("language_model", "fsdp2", device="cpu")(CPUReplayEngine)
        EngineRegistry.register("value_model", "fsdp2", device="cpu")(CPUEngineWithValueHead)
    else:
        # verl's own has the key without a vendor, which is looked up second
        for kind, engine in (
            ("language_model", CUDAReplayEngine),
            ("value_model", CUDAEngineWithValueHead),
        ):
            EngineRegistry.register(kind, "fsdp2", device="cuda", vendor="nvidia")(engine)

# Last, and not among verl's external modules: where a process imports this package before verl,
# verl imports those while this module is half done, and a trainer asks for the platform at once.
# The processes with a rank train what the trainer's own process gives them.
_TRAINER = os.environ.get("RECIPE_TRAINER")
if _TRAINER and "RANK" not in os.environ:
    importlib.import_module(_TRAINER)
