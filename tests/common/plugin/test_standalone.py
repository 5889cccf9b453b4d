"""A standalone replica under Ray: it reads weights from disk and answers verl's client calls."""

import os
from pathlib import Path

import pytest

from common.plugin.sampling import SamplingParams, sample
from tests.common.plugin.rank import printed

ROOT = Path(__file__).parents[3]
SERVE = """
import asyncio, json, sys
import ray
import verl
from omegaconf import OmegaConf
from verl.workers.config import RolloutConfig
from verl.workers.rollout.replica import get_rollout_replica_class

async def main():
    config = RolloutConfig(
        name="transformers", prompt_length=8, response_length=10, dtype="float32",
        tensor_model_parallel_size=1, engine_kwargs={"transformers": {"num_threads": 1}},
    )
    model = OmegaConf.create({
        "_target_": "verl.workers.config.HFModelConfig",
        "path": sys.argv[1], "override_config": {"attn_implementation": "sdpa"},
    })
    replica = get_rollout_replica_class("transformers")(0, config, model, gpus_per_node=1)
    await replica.init_standalone()
    ask = replica.server_handle.generate.remote
    replies = await asyncio.gather(
        *(ask(request_id=str(i), prompt_ids=[3, 4], sampling_params={"seed": i}) for i in range(3))
    )
    error = None
    try:
        await ask(request_id="3", prompt_ids=[3] * 18, sampling_params={})
    except ValueError as e:
        error = str(e).splitlines()[-1]
    print(json.dumps({"tokens": [r.token_ids for r in replies], "error": error}))

ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
asyncio.run(main())
"""


@pytest.mark.component
def test_a_standalone_replica_serves(moe, checkpoint):
    environment = {
        "VERL_USE_EXTERNAL_MODULES": "common.plugin",
        "VERL_PLATFORM": "cpu",
        "PYTHONPATH": str(ROOT),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    report = printed(SERVE, checkpoint, env=os.environ | environment, timeout=300)
    params = [SamplingParams(10, seed=i, stop_token_ids=(1, 2)) for i in range(3)]
    expected = sample(moe, [[3, 4]] * 3, params)
    assert report["tokens"] == [c.token_ids for c in expected]
    assert "prompt of 18 tokens leaves no room" in report["error"]
