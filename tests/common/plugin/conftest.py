"""Tiny random models with a tokenizer, saved as checkpoints."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

torch.set_num_threads(1)  # more threads only slow models this small down

SIZES = {
    "vocab_size": 24,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "initializer_range": 0.5,  # far from uniform, so that argmax and top-p are not decided by noise
}


def make_model(moe: bool = True, seed: int = 0, **overrides: object) -> torch.nn.Module:
    torch.manual_seed(seed)
    if not moe:
        return Qwen3ForCausalLM(Qwen3Config(**(SIZES | overrides))).eval()
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**(SIZES | experts | overrides))).eval()


@pytest.fixture(scope="session")
def moe() -> torch.nn.Module:
    return make_model()


@pytest.fixture(scope="session")
def checkpoint(moe: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`moe` on disk; token 1 ends a sequence for the model, and token 2 for the tokenizer."""
    path = tmp_path_factory.mktemp("moe")
    vocabulary = {"<pad>": 0, "<eos>": 1, "<end>": 2} | {chr(97 + i): 3 + i for i in range(21)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>"
    ).save_pretrained(path)
    moe.generation_config.eos_token_id = [1]
    moe.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def make():
    """The factory itself: tests cannot import a conftest."""
    return make_model
