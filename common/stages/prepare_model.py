"""Stage `model`: the model before any training, from the hub or built small from a config."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.console import say
from common.results.provenance import sha256_file
from common.runs import read_json, shared_stage, source_digest, write_json
from common.schema import vocabulary

SPECIAL = ("<pad>", "<eos>", "<unk>")


def prepare_model(run: RunConfig) -> Path:
    """The folder with weights, config and tokenizer in the hub's layout."""
    model = run.recipe.models[run.recipe.model]
    inputs: dict[str, Any] = {"hub": model.hub, "revision": model.revision, "build": model.build}
    template = chat_template(run)
    inputs["chat_template"] = sha256_file(template)
    if model.build is not None:
        inputs["seed"] = run.seed
        inputs["source"] = source_digest("common/stages/prepare_model.py")
    else:
        inputs["eos_token"] = model.eos_token
        if model.remove:
            inputs["remove"] = model.remove

    def make(folder: Path) -> None:
        if model.build is not None:
            build_model(folder, model.build, template.read_text(), run.seed)
        else:
            download(folder, str(model.hub), model.revision)
            remove_keys(folder / "config.json", model.remove or [])
            set_chat(folder, template.read_text(), str(model.eos_token))

    return shared_stage("model", inputs, make, resumable=model.hub is not None)


def chat_template(run: RunConfig) -> Path:
    """The recipe's file with the template of the run's model."""
    model = run.recipe.models[run.recipe.model]
    return run.folder / str(model.build["chat_template"] if model.build else model.chat_template)


def remove_keys(path: Path, keys: list[str]) -> None:
    """Take keys out of a model's configuration, where they are: an interrupted stage does it again.

    A published configuration may ask for what an engine cannot do, and the recipe does not need.
    """
    values = read_json(path)
    write_json(path, {key: value for key, value in values.items() if key not in keys})


def set_chat(folder: Path, template: str, eos_token: str) -> None:
    """Give a downloaded model a chat template, and let everything stop where a turn ends.

    A base model's tokenizer, `config.json` and `generation_config.json` name the token that ends a
    document. A sampler that stops only there runs on after every answer of the cold start.
    """
    vocabulary = read_json(folder / "tokenizer.json")["added_tokens"]
    ids = {token["content"]: token["id"] for token in vocabulary}
    if eos_token not in ids:
        raise ValueError(
            f"recipe.models: the tokenizer has no token {eos_token!r} (special tokens: "
            f"{', '.join(ids)}); change eos_token"
        )
    (folder / "chat_template.jinja").write_text(template)
    tokenizer = read_json(folder / "tokenizer_config.json") | {"eos_token": eos_token}
    tokenizer.pop("chat_template", None)
    write_json(folder / "tokenizer_config.json", tokenizer)
    for name in ("config.json", "generation_config.json"):
        values = read_json(folder / name)
        before = values.get("eos_token_id")
        known = before if isinstance(before, list) else [before]
        stops = [ids[eos_token], *(i for i in known if i not in (None, ids[eos_token]))]
        values["eos_token_id"] = stops if name == "generation_config.json" else stops[0]
        write_json(folder / name, values)


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
    """Randomly initialised causal language model with a tokenizer of its vocabulary."""
    import torch
    import transformers

    characters_only = not {"words", "integers"} & set(build)
    make = character_tokenizer if characters_only else word_tokenizer
    tokenizer = make(vocabulary(build), template)
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


def character_tokenizer(characters: Iterable[str], template: str) -> Any:
    """A tokenizer in which each of `characters` is one token."""
    from tokenizers import Tokenizer, models

    ids = {token: i for i, token in enumerate([*SPECIAL, *characters])}
    return _finished(Tokenizer(models.BPE(vocab=ids, merges=[], unk_token="<unk>")), template)


def word_tokenizer(words: Iterable[str], template: str) -> Any:
    """A tokenizer that cuts a text into the longest of `words`; numbers are never cut."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    ids = {token: i for i, token in enumerate([*SPECIAL, *words])}
    core = Tokenizer(models.WordLevel(vocab=ids, unk_token="<unk>"))
    longest_first = sorted((w for w in ids if not w.isdecimal()), key=len, reverse=True)
    pieces = "|".join(["[0-9]+", *map(re.escape, longest_first), r"[\s\S]"])
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pieces), "isolated")
    return _finished(core, template)


def _finished(core: Any, template: str) -> Any:
    from tokenizers import decoders
    from transformers import PreTrainedTokenizerFast

    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.chat_template = template
    return tokenizer
