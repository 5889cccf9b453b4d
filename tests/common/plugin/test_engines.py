"""The FSDP2 engines on CPU, built by verl in a process of their own."""

import os
from types import SimpleNamespace

import pytest
import torch

from common.plugin.engines import CPUEngineWithLMHead
from tests.common.plugin.rank import environment, printed

BUILD = """
import json, sys
import verl
import torch
from transformers import AutoModelForCausalLM
from verl.utils.distributed import initialize_global_process_group_ray

from common.plugin.weights import WeightUpdate
from tests.common.plugin.rank import build_engine

path = sys.argv[1]
initialize_global_process_group_ray()
x = torch.ones(3)
torch.distributed.all_reduce(x)
report = {"backend": torch.distributed.get_backend(), "sum": x.tolist()}
ROLES = ("language_model", False), ("language_model", True), ("value_model", False)
for kind, forward_only in ROLES:
    engine = build_engine(
        path, 1e-4, kind, model={"model_type": kind}, engine={"forward_only": forward_only}
    )
    ids = torch.arange(3, 11).unsqueeze(0)
    logits = engine.module(ids).logits
    found = {
        "engine": type(engine).__name__,
        "module": [c.__name__ for c in type(engine.module).__mro__],
        "outputs": logits.shape[-1],
        "dtype": str(logits.dtype),
        "attention": engine.module.config._attn_implementation,
        "model_type": engine.model_config.model_type,
    }
    saved = AutoModelForCausalLM.from_pretrained(path)
    if kind == "language_model":
        found["difference"] = (logits - saved(ids).logits).abs().max().item()
        fresh = AutoModelForCausalLM.from_config(saved.config)
        update = WeightUpdate(fresh)
        update.write(engine.get_per_tensor_param()[0])
        update.finish()
        found["sent"] = all(
            torch.equal(v, fresh.state_dict()[k]) for k, v in saved.state_dict().items()
        )
    if not forward_only:
        before = logits.square().mean()
        before.backward()
        found["grad_norm"] = engine.optimizer_step()
        found["improved"] = (engine.module(ids).logits.square().mean() < before).item()
    report[f"{kind}/{forward_only}"] = found


def head(seed):
    torch.rand(seed)  # whatever was drawn before
    kind = {"model_type": "value_model"}
    engine = build_engine(path, 1e-4, "value_model", model=kind, engine={"seed": seed})
    return engine.module.score.weight.full_tensor()


first, again, other = head(1), head(1), head(2)
report["heads"] = [torch.equal(first, again), torch.equal(first, other)]
print(json.dumps(report))
"""


@pytest.mark.component
def test_engines_build_train_and_send_weights(checkpoint):
    report = printed(BUILD, checkpoint, env=os.environ | environment())
    assert report["sum"] == [1.0] * 3
    assert report["heads"] == [True, False]
    actor, reference = report["language_model/False"], report["language_model/True"]
    critic = report["value_model/False"]
    for found in (actor, reference):
        assert found["engine"] == "CPUReplayEngine"
        assert "Qwen3MoeForCausalLM" in found["module"]
        assert found["difference"] < 1e-5
        assert found["sent"]
    assert critic["engine"] == "CPUEngineWithValueHead"
    assert "Qwen3MoeForTokenClassification" in critic["module"]
    assert critic["outputs"] == 1 and critic["model_type"] == "value_model"
    for found in (actor, reference, critic):
        assert any(name.startswith("FSDP") for name in found["module"])
        assert found["dtype"] == "torch.float32" and found["attention"] == "sdpa"
    for found in (actor, critic):
        assert found["grad_norm"] > 0 and found["improved"]


@pytest.mark.parametrize(
    ("engine", "model", "message"),
    [
        ({"param_offload": True}, False, "fsdp_config.param_offload=True needs an accelerator"),
        ({"optimizer_offload": True}, False, "fsdp_config.optimizer_offload=True needs"),
        ({"offload_policy": True}, False, "fsdp_config.offload_policy=True needs"),
        ({}, True, "model.enable_activation_offload=True needs an accelerator"),
        ({"mixed_precision": {"param_dtype": "fp16"}}, False, "param_dtype=fp16 needs CUDA"),
    ],
)
def test_what_needs_an_accelerator_is_refused(engine, model, message):
    off = {
        "param_offload": False,
        "optimizer_offload": False,
        "offload_policy": False,
        "mixed_precision": None,
    }
    itself = SimpleNamespace(
        engine_config=SimpleNamespace(**(off | engine)),
        model_config=SimpleNamespace(enable_activation_offload=model),
    )
    with pytest.raises(ValueError, match=message):
        CPUEngineWithLMHead._build_fsdp_module(itself, torch.nn.Linear(1, 1))
