"""Routing replay in verl's FSDP2 engine, on one rank and on two (see routing_replay_worker.py)."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from common.plugin.routing import Routing
from tests.common.plugin.rank import environment

pytestmark = pytest.mark.component
WORKER = Path(__file__).with_name("routing_replay_worker.py")
CASES = {
    "off": {"measure": False},
    "native": {},
    "r2": {"mode": "R2"},
    "r2 unmeasured": {"mode": "R2", "measure": False},
    "r2 packed": {"mode": "R2", "remove_padding": True},
    "r2 checkpointed": {"mode": "R2", "checkpointing": True},
    "r2 in micro-batches": {"mode": "R2", "micro_batch": 2},
    "r3 equal": {"mode": "R3", "rollout": "equal"},
    "r3 other": {"mode": "R3", "rollout": "other"},
    "native, rollout's routes known": {"rollout": "other"},
    "r3 without routes": {"mode": "R3"},
    "lora": {"mode": "R2", "lora": 4},
}


def launch(checkpoint, cases, folder, ranks):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    workers = []
    for rank in range(ranks):
        command = [sys.executable, str(WORKER), str(checkpoint), json.dumps(cases)]
        with (folder / f"log{rank}.txt").open("w") as log:
            workers.append(
                subprocess.Popen(
                    [*command, str(folder / "out.pt")],
                    env=os.environ | environment(rank, ranks, port),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    for rank, worker in enumerate(workers):
        assert worker.wait(timeout=400) == 0, (folder / f"log{rank}.txt").read_text()[-3000:]
    return torch.load(folder / "out.pt", weights_only=True)


@pytest.fixture(scope="module")
def found(checkpoint, tmp_path_factory):
    return launch(checkpoint, CASES, tmp_path_factory.mktemp("one"), ranks=1)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def close(one, other):
    return one.keys() == other.keys() and all(
        torch.allclose(one[k], other[k], atol=1e-5) for k in one
    )


def metric(case, update, name):
    (value,) = case["metrics"][update][f"actor/{name}"]
    return value


def test_measuring_changes_no_bit(found):
    for measured, not_measured in (("native", "off"), ("r2", "r2 unmeasured")):
        one, other = found[measured], found[not_measured]
        assert torch.equal(one["old"], other["old"])
        assert all(map(equal, one["gradients"], other["gradients"]))
    names = {k for update in found["r2 unmeasured"]["metrics"] for k in update}
    assert not any("routing" in k or "native" in k for k in names)
    assert found["off"]["routes"] is None


def test_replay_with_equal_routes_is_no_replay_bit_for_bit(found):
    native, r3 = found["native"], found["r3 equal"]
    assert torch.equal(native["old"], r3["old"])
    # the weights of the first update are those that the routes came from
    for name in ("r2", "r3 equal"):
        assert equal(native["gradients"][0], found[name]["gradients"][0])
        assert not equal(native["gradients"][1], found[name]["gradients"][1])


def test_nothing_differs_in_the_first_mini_batch_and_something_after_an_update(found):
    for name in ("native", "r2", "r2 packed", "r2 checkpointed"):
        assert metric(found[name], 0, "routing_changed/update_0") == 0
        assert metric(found[name], 0, "token_log_ratio_max_abs") < 1e-5
        after = metric(found[name], 1, "routing_changed/update_1")
        layers = [metric(found[name], 1, f"routing_changed/update_1/layer_{n}") for n in (0, 1)]
        assert 0 < after < 1 and after == pytest.approx(sum(layers) / 2)


def test_the_pair_is_what_the_other_arm_trains_with(found):
    """After the same first update both arms hold the same weights: each measures the other."""
    native, r2 = found["native"], found["r2"]
    for statistic in ("token_log_ratio_var", "sequence_log_ratio_max_abs"):
        without, replayed = metric(native, 1, statistic), metric(r2, 1, statistic)
        assert without != replayed
        for case in (native, r2):
            assert metric(case, 1, f"native_{statistic}") == without
            assert metric(case, 1, f"replayed_{statistic}") == replayed
    assert not any("native" in name for name in native["metrics"][0])


def test_packed_checkpointed_and_micro_batched_replay_agree(found):
    plain = found["r2"]
    for name in ("r2 packed", "r2 checkpointed", "r2 in micro-batches"):
        other = found[name]
        assert torch.equal(plain["routes"].values(), other["routes"].values())
        assert torch.equal(plain["routes"].offsets(), other["routes"].offsets())
        assert all(map(close, plain["gradients"], other["gradients"]))
    (whole,) = plain["metrics"][0]["actor/routed_experts_bytes"]
    assert whole == 34 * 2 * 2 * 2  # tokens x layers x top-k x two bytes
    assert sum(found["r2 in micro-batches"]["metrics"][0]["actor/routed_experts_bytes"]) == whole


def test_r3_forces_the_rollouts_experts_in_both_passes(found, checkpoint):
    r3 = found["r3 other"]
    model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    routing = Routing(model)
    generator, start = torch.Generator().manual_seed(0), 0
    for routes in r3["routes"].unbind():
        ids = torch.randint(3, 24, (len(routes),), generator=generator)
        routing.arm(routes, force=True)
        with torch.no_grad():
            log_probs = model(ids.unsqueeze(0)).logits[0].log_softmax(-1)
        expected = log_probs[:-1].gather(-1, ids[1:, None]).squeeze(-1)
        assert torch.allclose(r3["old"][start : start + len(ids) - 1], expected, atol=1e-5)
        start += len(ids)
    # the update's ratios are against that pass, with the same experts
    assert metric(r3, 0, "token_log_ratio_max_abs") < 1e-5
    assert metric(r3, 0, "routing_changed/rollout") > 0.3
    # what the routers would choose is the same in both passes, but for the weights
    assert metric(r3, 0, "routing_changed/update_0") == metric(r3, 0, "routing_changed/rollout")


def test_without_replay_the_rollouts_routes_are_compared_and_not_used(found):
    native, known = found["native"], found["native, rollout's routes known"]
    assert all(map(equal, native["gradients"], known["gradients"]))
    assert torch.equal(native["routes"].values(), known["routes"].values())
    # every expert was replaced by the next of four; two experts side by side keep one in common
    pairs = native["routes"].values()
    last = native["routes"].offsets()[1:] - 1
    pairs = pairs[[i for i in range(len(pairs)) if i not in last.tolist()]]
    shifted = (pairs + 1) % 4
    kept = (shifted.unsqueeze(-1) == pairs.unsqueeze(-2)).any(-1).float().mean().item()
    share = metric(known, 0, "routing_changed/rollout")
    assert share == pytest.approx(1 - kept, abs=1e-6)


def test_what_cannot_be_replayed_is_refused(found):
    assert "enable_rollout_routing_replay=true" in found["r3 without routes"]["error"]
    assert "lora_rank=0" in found["lora"]["error"]


def test_two_ranks_train_as_one(found, checkpoint, tmp_path):
    cases = {name: CASES[name] | {"micro_batch": 2} for name in ("r2", "r2 packed")}
    for name, two in launch(checkpoint, cases, tmp_path, ranks=2).items():
        one = found[name]
        half = len(two["routes"].values())
        assert torch.equal(two["routes"].values(), one["routes"].values()[:half])
        assert all(map(close, one["gradients"], two["gradients"]))
        assert metric(two, 0, "routing_changed/update_0") == 0
