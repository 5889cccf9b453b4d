"""The checkpoint engine `gloo`: what the first rank sends is what every rollout worker gets."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from common.plugin.checkpoint_engine import GlooCheckpointEngine

WEIGHTS = {
    "a": torch.arange(6, dtype=torch.float32).view(2, 3),
    "odd": torch.tensor([1.5], dtype=torch.bfloat16),
    "b": torch.arange(5, dtype=torch.float32).view(5)[::2],  # not contiguous
    "large": torch.arange(100, dtype=torch.float32),
}


async def received(engine):
    return {name: weight async for name, weight in engine.receive_weights()}


@pytest.mark.component
@pytest.mark.parametrize("bucket", [30, 10**6])  # bytes: several buckets, one larger than allowed
def test_all_rollout_workers_get_the_weights(bucket):
    senders = [GlooCheckpointEngine(bucket, is_master=rank == 0) for rank in range(2)]
    workers = [GlooCheckpointEngine(bucket) for _ in range(2)]
    engines = senders + workers
    metadata = [engine.prepare() for engine in engines]
    assert metadata[1:] == [None] * 3
    trainer, rollout = GlooCheckpointEngine.build_topology(2, 2, metadata)
    iterated = []

    def weights():
        yield from WEIGHTS.items()
        iterated.append(True)

    def work(number):
        engine = engines[number]
        table = trainer if number < 2 else rollout
        engine.init_process_group(**{k: v[number % 2] for k, v in table.items()})
        if number < 2:
            return asyncio.run(engine.send_weights(weights()))
        return asyncio.run(received(engine))

    with ThreadPoolExecutor(4) as threads:
        first, other, *found = threads.map(work, range(4))
    assert len(iterated) == 2  # the other rank too, for whom it is a collective
    assert other == {} and first["weight_sync/mib"] * 2**20 == 24 + 2 + 12 + 400
    for weights_found in found:
        assert list(weights_found) == list(WEIGHTS)
        for name, weight in WEIGHTS.items():
            assert weights_found[name].dtype == weight.dtype
            assert torch.equal(weights_found[name], weight)
    for engine in engines:
        engine.finalize()
