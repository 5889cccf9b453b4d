"""Memory and time: numbers that can be checked by hand, and what moves them."""

from dataclasses import replace

import pytest

from common.estimate import hours, memory
from common.estimate.dimensions import dimensions, hub_models
from tests.composed import composed

D = dimensions(hub_models()["Qwen/Qwen3-30B-A3B-Base"]["config"])
GIB = memory.GIB
CAPACITY = 80 * GIB


@pytest.fixture(scope="module")
def node8():
    return memory.setting(composed("gspo_moe", "node8", "gspo"))


def test_the_setting_is_read_from_the_configuration(node8):
    assert (node8.ranks, node8.sequences, node8.tokens_per_rank) == (8, 4096, 10240)
    assert node8.param_offload and node8.fused and node8.checkpointing and not node8.replay
    micro = memory.setting(composed("gspo_moe", "micro", "gspo"))
    assert micro.tokens_per_rank == 32 * 38  # fixed micro-batches of 32 samples


def test_the_update_phase_by_hand(node8):
    parts = memory.update_phase(D, node8)
    assert parts["weights"] == parts["gradients"] == 4 * 30532122624 / 8
    assert parts["optimizer"] == 8 * 30532122624 / 8
    assert parts["logits"] == 12 * 151936 * 1024
    assert memory.update_phase(D, replace(node8, fused=False))["logits"] == 12 * 151936 * 10240
    more = memory.update_phase(D, replace(node8, checkpointing=False))
    assert more["activations"] > 10 * parts["activations"]
    halved = memory.update_phase(D, replace(node8, ranks=16))
    assert halved["optimizer"] == parts["optimizer"] / 2


def test_the_rollout_phase_by_hand(node8):
    parts = memory.rollout_phase(D, node8, CAPACITY)
    assert parts["weights"] == 2 * 30532122624 / 4 and parts["trainer"] == 0
    assert parts["KV cache"] == pytest.approx(0.6 * CAPACITY - parts["weights"] - 2 * GIB)
    resident = replace(node8, param_offload=False, optimizer_offload=False)
    kept = memory.rollout_phase(D, resident, CAPACITY)["trainer"]
    assert kept == 12 * 30532122624 / 8
    # a key-value head is never split: 8 ranks hold 4 heads twice
    one = memory.concurrent_sequences(D, node8, CAPACITY, 10240)
    assert one == int(parts["KV cache"] / (98304 / 4 * 10240))
    wide = replace(node8, tensor_parallel=8, max_num_seqs=10**6)
    assert memory.concurrent_sequences(D, wide, CAPACITY, 10240) == int(
        memory.kv_cache(D, wide, CAPACITY) / (98304 / 4 * 10240)
    )
    assert memory.concurrent_sequences(D, replace(node8, utilization=0.1), CAPACITY, 10240) == 0


def test_the_host_holds_what_is_offloaded_and_the_routes(node8):
    parts = memory.host(D, node8)
    assert parts["offloaded weights"] == 4 * 30532122624
    assert parts["offloaded optimizer"] == 8 * 30532122624
    assert memory.host(D, replace(node8, ranks=16))["offloaded weights"] == 2 * 30532122624
    assert parts["routes"] == 0
    replay = memory.host(D, replace(node8, replay=True))
    assert replay["routes"] == 4096 * 10240 * 48 * 8 * 2


def test_the_disk_holds_the_checkpoints_of_a_resumed_run(node8):
    parts = memory.disk(D, node8, hub=True)
    assert parts["checkpoints"] == 3 * 16 * 30532122624
    assert sum(parts.values()) < 1700e9


def test_a_step_by_hand(node8):
    seconds = hours.step_seconds(D, node8, CAPACITY)
    tokens = 4096 * (0.1 * 2048 + 0.5 * 8192)
    attention = 4 * 48 * 32 * 128 * (0.1 * 2048 + 0.5 * 8192) / 2
    forward = tokens * (2 * D.multiplied + attention) / (8 * 989e12)
    assert seconds["old log-probabilities"] == pytest.approx(forward / 0.30)
    assert seconds["update"] == pytest.approx(4 * forward / 0.25)
    without = hours.step_seconds(D, replace(node8, checkpointing=False), CAPACITY)
    assert without["update"] == pytest.approx(3 * forward / 0.25)


def test_sampling_slows_with_less_room_and_stops_without(node8):
    def seconds(**changes):
        return hours.sampling_seconds(D, replace(node8, **changes), CAPACITY, 4096)

    assert seconds(max_num_seqs=32) > 2 * seconds()
    assert seconds(ranks=16) < seconds()
    assert seconds(utilization=0.1) == float("inf")


def test_gpu_hours_are_steps_times_gpus(node8):
    one = hours.gpu_hours(D, node8, CAPACITY, 1, 0)
    ten = hours.gpu_hours(D, node8, CAPACITY, 10, 0)
    assert ten["update"] == pytest.approx(10 * one["update"])
    assert one["update"] == pytest.approx(
        hours.step_seconds(D, node8, CAPACITY)["update"] * 8 / 3600
    )
    assert hours.gpu_hours(D, node8, CAPACITY, 1, 960)["evaluation"] > 0
