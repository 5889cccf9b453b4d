"""FSDP2 training engines: those for the device `cpu`, as verl registers its own for CUDA and NPU
only, and the critic's on GPUs."""

from typing import Any

import torch
from verl.utils.fsdp_utils import MixedPrecisionPolicy, apply_fsdp2, fsdp2_load_full_state_dict
from verl.utils.torch_dtypes import PrecisionType
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead, FSDPEngineWithValueHead

from common.plugin.seeded import SeededInit

_NEEDS_ACCELERATOR = ("param_offload", "optimizer_offload", "offload_policy")


class _FSDP2OnCPU:
    """Overrides the one method of verl's `FSDPEngine` that assumes an accelerator."""

    engine_config: Any
    model_config: Any
    device_mesh: Any

    def _build_fsdp_module(self, module: torch.nn.Module) -> torch.nn.Module:
        """Shard `module` with FSDP2 over gloo.

        Unlike `FSDPEngine._build_fsdp_module` (verl 0.9.1,
        workers/engine/fsdp/transformer_impl.py), parameters default to fp32, not bf16, and a
        forward-only model is not offloaded to pinned host memory, which takes an accelerator.

        Raises:
            ValueError: fp16 parameters (they need CUDA's gradient scaler), or any offloading.
        """
        config = self.engine_config
        for key in _NEEDS_ACCELERATOR:
            if getattr(config, key):
                raise ValueError(f"fsdp_config.{key}=True needs an accelerator; set it to False.")
        if self.model_config.enable_activation_offload:
            raise ValueError(
                "model.enable_activation_offload=True needs an accelerator; set False."
            )
        precision = config.mixed_precision or {}
        param_dtype = PrecisionType.to_dtype(precision.get("param_dtype", "fp32"))
        reduce_dtype = PrecisionType.to_dtype(precision.get("reduce_dtype", "fp32"))
        if param_dtype is torch.float16:
            raise ValueError("mixed_precision.param_dtype=fp16 needs CUDA; use fp32 or bf16.")
        self._autocast_dtype = param_dtype
        full_state = module.state_dict()
        fsdp_kwargs = {
            "mesh": self.device_mesh,
            "mp_policy": MixedPrecisionPolicy(
                param_dtype=param_dtype, reduce_dtype=reduce_dtype, cast_forward_inputs=True
            ),
            "offload_policy": None,
            "reshard_after_forward": config.reshard_after_forward,
        }
        apply_fsdp2(module, fsdp_kwargs, config)
        fsdp2_load_full_state_dict(module, full_state, self.device_mesh, None)
        return module


class CPUEngineWithLMHead(_FSDP2OnCPU, FSDPEngineWithLMHead):
    """Actor and reference engine."""


class CPUEngineWithValueHead(SeededInit, _FSDP2OnCPU, FSDPEngineWithValueHead):
    """The critic's engine on the device `cpu`."""

    def _build_module(self) -> torch.nn.Module:
        """Build the model with one output per token, in the configured attention implementation.

        verl's `load_valuehead_model` hard-codes flash-attention, which has no CPU version. Its
        language-model branch builds whatever class `architectures` names, so we name the one that
        `load_valuehead_model` would build, with the same settings, and take that branch.
        """
        config, hf_config = self.model_config, self.model_config.hf_config
        hf_config.num_labels = 1
        hf_config.classifier_dropout = hf_config.summary_dropout_prob = 0.0
        hf_config.hidden_dropout = "0"
        name = hf_config.architectures[0].replace("ForCausalLM", "ForTokenClassification")
        hf_config.architectures = [name]
        config.model_type = "language_model"
        module = super()._build_module()
        config.model_type = "value_model"
        return module


class CUDAEngineWithValueHead(SeededInit, FSDPEngineWithValueHead):
    """The critic's engine on GPUs: verl's own, with a seeded head."""
