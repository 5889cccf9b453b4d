"""Seeds of requests."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from common.plugin.agent_loop import SeededSingleTurn, request_seed

REQUEST = {
    "rollout_seed": 42,
    "global_step": 3,
    "prompt_index": 17,
    "prompt": [("user", "1+1=")],
    "sample": 5,
}


def test_a_seed_is_stable_and_fits_in_63_bits():
    assert request_seed(**REQUEST) == 23178490666301371  # the same in every version: resume
    assert request_seed(**REQUEST | {"prompt_index": np.int64(17)}) == request_seed(**REQUEST)
    seeds = {request_seed(**REQUEST | {"sample": i}) for i in range(10_000)}
    assert len(seeds) == 10_000
    assert min(seeds) >= 0 and 2**62 < max(seeds) < 2**63


@pytest.mark.parametrize("field", list(REQUEST))
def test_every_field_counts(field):
    other = {"prompt": [("user", "1+2=")]}.get(field, 1)
    assert request_seed(**REQUEST | {field: other}) != request_seed(**REQUEST)


def test_the_loop_passes_the_seed_on(monkeypatch):
    received = {}

    async def run(self, sampling_params, **kwargs):
        received.update(sampling_params, **kwargs)
        return "output"

    monkeypatch.setattr(SingleTurnAgentLoop, "run", run)
    loop = object.__new__(SeededSingleTurn)
    loop.rollout_config = SimpleNamespace(seed=42)
    params = {"temperature": 0.7}
    kwargs = {
        "global_steps": 3,
        "index": 17,
        "session_id": 5,
        "raw_prompt": [{"role": "user", "content": "1+1="}],
    }
    assert asyncio.run(loop.run(params, **kwargs)) == "output"
    assert received == {"temperature": 0.7, "seed": request_seed(**REQUEST), **kwargs}
    assert params == {"temperature": 0.7}  # verl shares this dictionary between requests
