"""LoRA on verl's FSDP2 engine: what it exports and sends equals what it trains."""

import os

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer

from common.plugin.lora import merge
from tests.common.plugin.rank import environment, printed

TARGETS = ["q_proj", "v_proj", "down_proj"]
TRAIN = """
import json, os, sys
import verl
import torch
from pathlib import Path
from transformers import AutoModelForCausalLM
from verl.utils.distributed import initialize_global_process_group_ray

from common.plugin.weights import WeightUpdate
from tests.common.plugin.rank import build_engine

path, out = sys.argv[1:3]
initialize_global_process_group_ray()
lora = {"lora_rank": 4, "lora_alpha": 8, "lora": {"merge": True}}
lora["target_modules"] = ["q_proj", "v_proj", "down_proj"]
saved = {"save_contents": ["model", "optimizer", "extra", "hf_model"]}
engine = build_engine(path, 0.05, model=lora, checkpoint=saved)
drawn = [
    [p.full_tensor().clone() for n, p in e.module.named_parameters() if "lora_A" in n]
    for e in (engine, build_engine(path, 0.05, model=lora))
]
ids = torch.arange(3, 11).unsqueeze(0)
base = engine.module(ids).logits
base.square().mean().backward()
engine.optimizer_step()
trained = engine.module(ids).logits.detach()
fresh = AutoModelForCausalLM.from_pretrained(path)
update = WeightUpdate(fresh)
update.write(engine.get_per_tensor_param()[0])
update.finish()
engine.save_checkpoint(out, global_step=1)
loaded = AutoModelForCausalLM.from_pretrained(f"{out}/huggingface", dtype=torch.float32)
again = engine.module(ids).logits.detach()
with engine.disable_adapter():
    without = engine.module(ids).logits.detach()
gap = lambda a, b: (a - b).abs().max().item()
if int(os.environ["RANK"]) == 0:
    print(json.dumps({
        "trained": gap(trained, base.detach()), "sent": gap(fresh(ids).logits, trained),
        "exported": gap(loaded(ids).logits, trained), "kept": gap(again, trained),
        "reference": gap(without, base.detach()),
        "seeded": all(torch.equal(a, b) for a, b in zip(*drawn, strict=True)),
        "factors": len(drawn[0]),
        "files": sorted(p.name for p in Path(f"{out}/huggingface").glob("*.safetensors*")),
    }))
"""


@pytest.mark.component
def test_what_is_exported_and_sent_equals_what_is_trained(make, checkpoint, tmp_path):
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(tmp_path / "base")
    make(moe=False).save_pretrained(tmp_path / "base")
    found = printed(TRAIN, tmp_path / "base", tmp_path / "out", env=os.environ | environment())
    assert found["trained"] > 1e-2
    assert found["seeded"] and found["factors"] > 0
    for what in ("sent", "exported", "kept", "reference"):
        assert found[what] < 1e-5, (what, found)
    assert found["files"] == ["model.safetensors"]


def adapted(model):
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=TARGETS)
    return get_peft_model(model, config)


def test_merged_weights_are_those_that_peft_merges(make):
    wrapped = adapted(make(moe=False))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.normal_()
    merged = merge(wrapped.state_dict(), 2.0)
    expected = wrapped.merge_and_unload().state_dict()
    assert merged.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.allclose(merged[name], weight, atol=1e-5), name


def test_a_second_adapter_takes_the_place_of_the_first(make):
    """Why SFT followed by GRPO, each with a LoRA configuration, trains GRPO from the base."""
    base, ids = make(moe=False), torch.arange(3, 11).unsqueeze(0)
    before = base(ids).logits
    first = adapted(base)
    with torch.no_grad():
        for name, parameter in first.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    assert (first(ids).logits - before).abs().max() > 0.1
    second = adapted(base)  # the same object, as the scripts hand it to both trainers
    assert all(not p.any() for n, p in second.named_parameters() if "lora_B" in n)
    assert torch.equal(second(ids).logits, before)
