"""A model's dimensions and parameter counts, from the fields of its `config.json`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from common.schema import Model, vocabulary

SPECIAL_TOKENS_OF_BUILT_MODELS = 3  # common/stages/prepare_model.py: <pad>, <eos>, <unk>


@dataclass(frozen=True)
class Dimensions:
    """Sizes of a decoder-only transformer with grouped-query attention and gated MLPs.

    `experts` is 0 for a dense model; `sparse_layers` counts the layers that have experts; `norms`
    those of a layer's width.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    positions: int
    tied: bool
    dense_width: int
    experts: int
    active_experts: int
    expert_width: int
    sparse_layers: int
    biases: bool
    query_norms: bool
    norms: int

    @property
    def attention(self) -> int:
        """Parameters of one layer's attention: q, k, v and o, and the biases of q, k and v (Qwen2),
        the norms of q and k (Qwen3) or nothing (Gemma 2, Llama)."""
        projections = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        rows = self.heads + 2 * self.kv_heads if self.biases else 2 * self.query_norms
        return projections + rows * self.head_dim

    @property
    def embeddings(self) -> int:
        """Parameters of input embedding and output head (one matrix when tied)."""
        return (1 if self.tied else 2) * self.vocabulary * self.hidden

    def parameters(self, experts: int | None = None) -> int:
        """All parameters; with `experts`, as if each sparse layer had that many."""
        experts = self.experts if experts is None else experts
        norms = self.norms * self.hidden * self.layers + self.hidden
        router = self.sparse_layers * self.hidden * self.experts
        sparse = self.sparse_layers * experts * 3 * self.hidden * self.expert_width
        dense = (self.layers - self.sparse_layers) * 3 * self.hidden * self.dense_width
        return self.embeddings + self.layers * self.attention + norms + router + sparse + dense

    @property
    def active(self) -> int:
        """Parameters that one token uses."""
        return self.parameters(self.active_experts)

    @property
    def multiplied(self) -> int:
        """Parameters that one token is multiplied by: the active ones without the input lookup."""
        return self.active - (0 if self.tied else self.vocabulary * self.hidden)

    def attention_flops(self, context: float) -> float:
        """FLOPs of one token's scores and weighted sum over `context` tokens, all layers."""
        return 4.0 * self.layers * self.heads * self.head_dim * context

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values of one token in bf16, all layers."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim


@lru_cache
def hub_models() -> dict[str, Any]:
    """The shipped numbers, by hub name."""
    text = Path(__file__).with_name("models.yaml").read_text()
    return yaml.safe_load(text)  # type: ignore[no-any-return]


def model_config(model: Model) -> dict[str, Any] | None:
    """The `config.json` fields of a recipe's model; None for a hub model that is not shipped."""
    if model.build is None:
        shipped = hub_models().get(str(model.hub))
        return None if shipped is None else shipped["config"]
    size = len(vocabulary(model.build)) + SPECIAL_TOKENS_OF_BUILT_MODELS
    return model.build["config"] | {"vocab_size": size}


def dimensions(config: dict[str, Any]) -> Dimensions:
    """Read the sizes; a layer is sparse as transformers' Qwen3-MoE decides it."""
    layers, experts = config["num_hidden_layers"], config.get("num_experts", 0)
    dense = set(config.get("mlp_only_layers", []))
    every = config.get("decoder_sparse_step", 1)
    sparse = [i for i in range(layers) if experts and i not in dense and (i + 1) % every == 0]
    heads = config["num_attention_heads"]
    gemma = "query_pre_attn_scalar" in config  # Gemma 2 norms what its blocks take and give
    return Dimensions(
        layers=layers,
        hidden=config["hidden_size"],
        heads=heads,
        kv_heads=config["num_key_value_heads"],
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        tied=config["tie_word_embeddings"],
        dense_width=config["intermediate_size"],
        experts=experts if sparse else 0,
        active_experts=config["num_experts_per_tok"] if sparse else 0,
        expert_width=config["moe_intermediate_size"] if sparse else 0,
        sparse_layers=len(sparse),
        biases=config.get("model_type") == "qwen2",
        query_norms=config.get("model_type", "qwen3").startswith("qwen3") and not gemma,
        norms=4 if gemma else 2,
    )
