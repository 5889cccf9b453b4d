"""Stage `model`: the model before any training, from the hub or built small from a config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.console import say
from common.results.provenance import sha256_file
from common.runs import shared_stage, source_digest

SPECIAL = ("<pad>", "<eos>", "<unk>")


def prepare_model(run: RunConfig) -> Path:
    """The folder with weights, config and tokenizer in the hub's layout."""
    model = run.recipe.models[run.recipe.model]
    inputs: dict[str, Any] = {"hub": model.hub, "revision": model.revision, "build": model.build}
    if model.build is not None:
        template = run.folder / model.build["chat_template"]
        inputs |= {
            "seed": run.seed,
            "chat_template": sha256_file(template),
            "source": source_digest("common/stages/prepare_model.py"),
        }

    def make(folder: Path) -> None:
        if model.build is not None:
            build_model(folder, model.build, template.read_text(), run.seed)
        else:
            download(folder, str(model.hub), model.revision)

    return shared_stage("model", inputs, make, resumable=model.hub is not None)


def download(folder: Path, hub: str, revision: str | None) -> None:
    """Fetch a model of the Hugging Face hub (HF_ENDPOINT chooses a mirror)."""
    from huggingface_hub import snapshot_download

    say(f"model: fetching {hub} from the hub")
    snapshot_download(
        hub,
        revision=revision,
        local_dir=folder,
        allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"],
    )


def build_model(folder: Path, build: dict[str, Any], template: str, seed: int) -> None:
    """Randomly initialised causal language model with a tokenizer of single characters."""
    import torch
    import transformers

    tokenizer = character_tokenizer(build["characters"], template)
    tokenizer.save_pretrained(folder)
    config_class = getattr(transformers, f"{build['architecture']}Config", None)
    if config_class is None:
        raise ValueError(f"recipe.models: transformers has no {build['architecture']}Config")
    config = config_class(
        **build["config"],
        vocab_size=len(tokenizer),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    count = sum(p.numel() for p in model.parameters())
    say(f"model: built {build['architecture']} with {count:,} parameters, {len(tokenizer)} tokens")


def character_tokenizer(characters: str, template: str) -> Any:
    """A tokenizer in which each of `characters` is one token."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *characters])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.chat_template = template
    return tokenizer
