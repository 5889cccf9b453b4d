"""LoRA on verl's FSDP2 engine: exported models that can be loaded, and exact weights on a CPU.

verl 0.9.1 exports a model with adapters as PEFT holds it: the base's weights under names such as
`base_model.model.model.layers.0.mlp.up_proj.base_layer.weight`, the two factors beside them
(utils/checkpoint/fsdp_checkpoint_manager.py). transformers finds none of its names there and loads
random weights. `MergedExport` merges the factors into the weights that it exports; the
checkpoint for resuming keeps them apart.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor
from verl.utils.fsdp_utils import merged_lora_context, normalize_peft_param_name

_PREFIX, _BASE = "base_model.model.", ".base_layer.weight"


def merge(weights: Mapping[str, torch.Tensor], scaling: float) -> dict[str, torch.Tensor]:
    """The weights of the model without adapters that equals one with them.

    Each `<name>.base_layer.weight` W [out, in] becomes `<name>.weight`, W + scaling B A, in W's
    dtype, with A [rank, in] in `<name>.lora_A.default.weight` and B [out, rank] likewise. Other
    weights lose PEFT's prefix.

    Args:
        weights: As PEFT names them.
        scaling: alpha / rank.
    """
    merged = {}
    for name, weight in weights.items():
        if ".lora_" in name:
            continue
        if name.endswith(_BASE):
            module = name.removesuffix(_BASE)
            a, b = (weights[f"{module}.lora_{side}.default.weight"].float() for side in "AB")
            name, weight = f"{module}.weight", (weight.float() + scaling * b @ a).to(weight.dtype)
        merged[name.removeprefix(_PREFIX)] = weight.contiguous()
    return merged


def merge_exported(folder: Path, scaling: float) -> None:
    """Merge the model that verl exported to `folder`; one that has no adapters is left as it is."""
    shards = sorted(folder.glob("*.safetensors"))
    weights = {name: weight for shard in shards for name, weight in load_file(shard).items()}
    if not any(name.startswith(_PREFIX) for name in weights):
        return
    partial = folder / "merged.partial"
    save_file(merge(weights, scaling), partial, metadata={"format": "pt"})
    for old in (*shards, *folder.glob("*.safetensors.index.json")):
        old.unlink()
    partial.rename(folder / "model.safetensors")


class MergedExport:
    """To be mixed in before `FSDPEngineWithLMHead`; does nothing without LoRA."""

    model_config: Any
    rank: int

    def save_checkpoint(self, local_path: str, *args: Any, **kwargs: Any) -> None:
        """verl's, then the merge, before the trainer notes the checkpoint as whole."""
        super().save_checkpoint(local_path, *args, **kwargs)  # type: ignore[misc]
        if self.model_config.lora_rank > 0:
            folder = Path(local_path) / "huggingface"
            if self.rank == 0:
                merge_exported(folder, self.model_config.lora_alpha / self.model_config.lora_rank)
            torch.distributed.barrier()


class ExactSync:
    """The same for a rollout in fp32: verl sends merged weights in bf16, whatever it trains in."""

    module: torch.nn.Module

    def _merged_lora_per_tensor_param(self) -> Iterator[tuple[str, torch.Tensor]]:
        with merged_lora_context(self.module, backup_adapters=True):
            for name, weight in normalize_peft_param_name(self.module.state_dict()).items():
                full = weight.full_tensor() if isinstance(weight, DTensor) else weight
                yield name, full.detach().clone()  # verl restores the base when this ends
