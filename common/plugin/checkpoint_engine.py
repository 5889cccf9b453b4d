"""Checkpoint engine `gloo`: weights from the trainer to standalone rollout workers, through the
host's memory.

verl 0.9.1 has engines for accelerators only (nccl, hccl, nixl, mooncake, kimi), and `naive` for a
sampler inside the trainer's process. Chosen by
`actor_rollout_ref.rollout.checkpoint_engine.backend=gloo`; every process that needs it imports this
module, since `checkpoint_engine.custom_backend_module` names it.
"""

import json
import time
from collections.abc import AsyncGenerator, Generator
from datetime import timedelta
from typing import Any

import ray
import torch
import torch.distributed as dist
from verl.checkpoint_engine import CheckpointEngine, CheckpointEngineRegistry

_TIMEOUT = timedelta(minutes=10)
_SENDER = 0

Weights = Generator[tuple[str, torch.Tensor], None, None]


@CheckpointEngineRegistry.register("gloo")
class GlooCheckpointEngine(CheckpointEngine):
    """The trainer's first rank broadcasts buckets of whole weights to all rollout workers.

    The group is made anew for each update, as verl's manager asks for it. `send_weights` returns
    the metrics weight_sync/mib (of one copy) and weight_sync/seconds.

    Args:
        bucket_size: Bytes of weights in one broadcast; a larger weight goes alone.
        is_master: Whether this process is the trainer's first rank.
    """

    def __init__(self, bucket_size: int, is_master: bool = False) -> None:
        self.bucket_size, self.is_master = bucket_size, is_master
        self.rank: int | None = None
        self.store: Any = None
        self.group: Any = None

    def prepare(self) -> Any:
        """Where the others find this process: (host, port) of the first rank, else None."""
        if not self.is_master:
            return None
        host = ray.util.get_node_ip_address().strip("[]")
        self.store = dist.TCPStore(
            host, 0, is_master=True, wait_for_workers=False, timeout=_TIMEOUT
        )
        return host, self.store.port

    @classmethod
    def build_topology(
        cls, actor_wg_world_size: int, rollout_world_size: int, metadata: list[Any]
    ) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """Arguments of `init_process_group` for the trainer's ranks and for the rollout workers.
        The trainer's other ranks stay outside of the group, with rank -1."""

        def arguments(ranks: list[int]) -> dict[str, list[Any]]:
            size = rollout_world_size + 1
            count = len(ranks)
            return {"rank": ranks, "world_size": [size] * count, "address": [metadata[0]] * count}

        trainer = [_SENDER] + [-1] * (actor_wg_world_size - 1)
        return arguments(trainer), arguments(list(range(1, rollout_world_size + 1)))

    def init_process_group(  # type: ignore[override]
        self, rank: int, world_size: int, address: tuple[str, int]
    ) -> None:
        self.rank = rank
        if rank < 0:
            return
        if not self.is_master:
            host, port = address
            self.store = dist.TCPStore(host, port, is_master=False, timeout=_TIMEOUT)
        self.group = dist.ProcessGroupGloo(self.store, rank, world_size, timeout=_TIMEOUT)

    def finalize(self) -> None:
        self.group = self.store = self.rank = None

    @torch.no_grad()
    async def send_weights(
        self, weights: Weights, global_steps: int | None = None
    ) -> dict[str, float]:
        begun, total, size = time.perf_counter(), 0, 0
        bucket: dict[str, torch.Tensor] = {}
        for name, weight in weights:  # every rank iterates: gathering a weight is a collective
            if self.rank != _SENDER:
                continue
            if bucket and size + weight.nbytes > self.bucket_size:
                self._send(bucket, last=False)
                bucket, size = {}, 0
            bucket[name] = weight.detach().cpu().contiguous()
            size += weight.nbytes
            total += weight.nbytes
        if self.rank != _SENDER:
            return {}
        self._send(bucket, last=True)
        return {
            "weight_sync/mib": total / 2**20,
            "weight_sync/seconds": time.perf_counter() - begun,
        }

    async def receive_weights(  # type: ignore[override]
        self, global_steps: int | None = None
    ) -> AsyncGenerator[tuple[str, torch.Tensor], None]:
        last = False
        while not last:
            (length,) = self._broadcast(torch.zeros(1, dtype=torch.int64)).tolist()
            header = self._broadcast(torch.empty(length, dtype=torch.uint8))
            told = json.loads(bytes(header.tolist()))
            last = told["last"]
            payload = self._broadcast(torch.empty(told["bytes"], dtype=torch.uint8))
            begin = 0
            for name, kind, shape in told["weights"]:
                dtype = getattr(torch, kind)
                end = begin + torch.Size(shape).numel() * dtype.itemsize
                # a copy begins where its dtype may, a slice in the middle of bytes need not
                yield name, payload[begin:end].clone().view(dtype).view(shape)
                begin = end

    def _send(self, bucket: dict[str, torch.Tensor], last: bool) -> None:
        parts = [weight.view(-1).view(torch.uint8) for weight in bucket.values()]
        payload = torch.cat(parts)
        told = [[n, str(w.dtype).removeprefix("torch."), list(w.shape)] for n, w in bucket.items()]
        text = json.dumps({"last": last, "bytes": len(payload), "weights": told}).encode()
        self._broadcast(torch.tensor([len(text)], dtype=torch.int64))
        self._broadcast(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        self._broadcast(payload)

    def _broadcast(self, tensor: torch.Tensor) -> torch.Tensor:
        options = dist.BroadcastOptions()
        options.rootRank = _SENDER
        self.group.broadcast([tensor], options).wait()
        return tensor
