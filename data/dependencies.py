"""What a built data set depends on beside its options and seed: code, templates, published sets."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.results.provenance import sha256_file
from common.runs import module_sources, relative
from data import prompts
from data.sources import get_source, parse


def modules(builder: str) -> list[str]:
    """The builder's file, and those of this package, of the graders and of the sandbox that it
    imports, relative to the repository."""
    ours = ("data/", "common/rewards/", "common/sandbox/")
    return [path for path in module_sources(f"data.{builder}") if path.startswith(ours)]


def inputs(builder: str, options: dict[str, Any]) -> dict[str, Any]:
    """The templates (by sha256) and the entries of `sources.yaml` that the options name, and the
    sha256 of the builder's `files`, null where one is not there.

    Options are read by their keys: `template` and `*_template`, and `source`.
    Raises: ValueError for an option that the builder does not take, or a name that is not known.
    """
    module = importlib.import_module(f"data.{builder}")
    build = module.build
    try:
        bound = inspect.signature(build).bind(Path(), 0, **options)
    except TypeError as error:
        raise ValueError(f"recipe.data.options: {builder}: {error}") from None
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for path in module.files(**options) if hasattr(module, "files") else ():
        found[f"file {relative(path)}"] = sha256_file(path) if path.exists() else None
    for key, value in _texts(bound.arguments):
        if key == "source":
            name, split = parse(value)
            source = get_source(name)
            found[f"{name}/{split}"] = asdict(source) | {"splits": asdict(source.splits[split])}
        elif key == "template" or key.endswith("_template"):
            found[f"template {value}"] = prompts.load(value).sha256
    return found


def _texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _texts(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value, key)
    elif isinstance(node, str):
        yield key, node
