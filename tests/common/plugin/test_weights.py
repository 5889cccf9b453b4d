"""Per-expert weights, as on the hub, into the fused modules of transformers 5."""

import pytest
import torch
from safetensors.torch import load_file
from verl.workers.engine.fsdp.utils import unfuse_moe_params

from common.plugin.weights import WeightUpdate


@pytest.fixture
def other(make):
    return make(seed=1)


def assert_equal(a, b):
    for (name, x), (_, y) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0, msg=name)


def test_checkpoint_round_trip(moe, other, checkpoint):
    weights = load_file(checkpoint / "model.safetensors")
    assert "model.layers.1.mlp.experts.3.up_proj.weight" in weights  # the hub's naming
    update = WeightUpdate(other)
    pieces = list(weights.items())[::-1]
    for i in range(0, len(pieces), 5):  # buckets that split a layer's experts
        update.write(pieces[i : i + 5])
    update.finish()
    assert_equal(moe, other)
    ids = torch.arange(10).unsqueeze(0)
    torch.testing.assert_close(moe(ids).logits, other(ids).logits, rtol=0, atol=0)


def test_what_verl_sends(moe, other):
    update = WeightUpdate(other)
    update.write(unfuse_moe_params(iter(moe.state_dict().items()), "qwen3_moe"))
    update.finish()
    assert_equal(moe, other)


def test_fused_weights_pass_through(moe, other):
    assert "model.layers.0.mlp.experts.gate_up_proj" in moe.state_dict()
    update = WeightUpdate(other)
    update.write(moe.state_dict().items())
    update.finish()
    assert_equal(moe, other)


def test_tied_weights_may_come_once_or_twice(make):
    source, target = (make(moe=False, seed=s, tie_word_embeddings=True) for s in (0, 1))
    for skip in ("lm_head.weight", "nothing"):
        update = WeightUpdate(target)
        update.write((k, v) for k, v in source.state_dict().items() if k != skip)
        update.finish()
        assert_equal(source, target)


def test_a_missing_expert_is_noticed(moe, other):
    update = WeightUpdate(other)
    sent = unfuse_moe_params(iter(moe.state_dict().items()), "qwen3_moe")
    update.write((k, v) for k, v in sent if "layers.1.mlp.experts.2.up_proj" not in k)
    with pytest.raises(ValueError, match=r"left out 1 weights: .*layers\.1\.mlp\.experts\.gate_up"):
        update.finish()


@pytest.mark.parametrize(
    "name",
    ["model.nonsense", "model.layers.0.mlp.experts.4.up_proj.weight", "experts.0.up_proj.weight"],
)
def test_unknown_weights_are_refused(other, name):
    with pytest.raises(ValueError, match="The model has no weight " + name):
        WeightUpdate(other).write([(name, torch.zeros(8, 16))])


def test_other_shapes_are_refused(other):
    with pytest.raises(ValueError, match=r"has shape \(16, 8\), but the model's has \(8, 16\)"):
        WeightUpdate(other).write(
            [("model.layers.0.mlp.experts.0.up_proj.weight", torch.zeros(16, 8))]
        )
