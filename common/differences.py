"""`python -m common diff A B`: in which keys two configurations differ, by what the keys decide.

A and B are each a recipe, one of its scales and variants (`gspo_moe/node8/gspo`, the parts after
the recipe in any order), a record's file or a run's folder; B may be `paper`, the setting of the
paper for A's recipe and variant, with the source that its files give for each value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.config import choices, compose_run, leaves, recipe_folder
from common.results.claims import PAPER_SCALE
from common.results.record import load
from common.runs import relative
from common.schema import suggest

PAPER = "paper"
ALGORITHMIC, SCALE, LOGGING = "algorithmic", "scale", "logging"
# A key is algorithmic unless it is named here: what nobody thought of is never hidden.
PATTERNS = {
    LOGGING: (
        *("recipe.variant", "recipe.variants", "recipe.seeds", "recipe.disk_gb"),
        *("trainer.logger", "trainer.*_name", "trainer.*_freq", "trainer.val_before_train"),
        *("trainer.*_data_dir", "trainer.default_local_dir", "trainer.max_*_ckpt_to_keep"),
        *("trainer.log_val_generations", "trainer.resume_*", "global_profiler.*"),
        *("*.profiler.*", "*.prometheus.*", "*.trace.*", "*.checkpoint.*", "*.disable_log_stats"),
        *("*.calculate_entropy", "*.router_replay.measure", "ray_kwargs.ray_init.*dashboard"),
    ),
    SCALE: (
        *("recipe.data.*", "recipe.model", "recipe.models.*", "recipe.platform", "recipe.gpus"),
        *("recipe.gpu_memory_gib", "recipe.steps.*", "recipe.evaluation.engine", "recipe.seed"),
        *("recipe.evaluation.*batch_size", "recipe.evaluation.max_response_length"),
        *("recipe.evaluation.benchmarks.*.file", "recipe.evaluation.benchmarks.*.samples"),
        *("*.val_kwargs.n", "*seed", "data.*_files", "data.*num_workers", "data.max_*_length"),
        *("model_engine", "*.nnodes", "*n_gpus_per_node", "*.device", "trainer.total_*"),
        *("*._target_", "*.strategy", "*.fsdp_config.*", "*.fsdp.*", "*.veomni.*", "*.engine.*"),
        *("*.megatron.*", "*.torchtitan.*", "*.qat.*", "*.turbo_config.*", "*.engine_kwargs.*"),
        *("*micro_batch_size*", "*token_len*", "*use_dynamic_bsz", "*parallel_size", "*_offload"),
        *("*.dtype", "*.model_dtype", "*attn_implementation", "*gradient_checkpointing"),
        *("*remove_padding", "*fused_kernels", "*torch_compile", "*entropy_checkpointing"),
        *("*entropy_from_logits*", "*.rollout.name", "*.inference.name", "*gpu_memory_util*"),
        *("*.max_model_len", "*.max_num_*", "*.prompt_length", "*.response_length", "*.max_length"),
        *("*.enforce_eager", "*.free_cache_engine", "*.load_format", "*.agent.*", "*.num_workers"),
        *("*model.path", "*model.override_config", "ray_kwargs.*", "transfer_queue.*"),
        *("trainer.v1.sampler.sampler_kwargs*", "*.checkpoint_engine.*", "recipe.sft.engine"),
    ),
}
OVERRIDE = "override"


@dataclass(frozen=True)
class Side:
    """`sources`: of dotted keys, what the recipe's files say about where the value comes from."""

    name: str
    folder: Path
    variant: str
    config: dict[str, Any]
    sources: dict[str, str]


@dataclass(frozen=True)
class Difference:
    """`a` and `b` are null where a side has no such key; `source`: of b's value, else a's."""

    kind: str
    key: str
    a: Any
    b: Any
    source: str


def side(text: str, other: Side | None = None) -> Side:
    """What a word of the command line names. Raises: ValueError naming what there is."""
    if text == PAPER:
        if other is None:
            raise ValueError("diff: the paper's setting needs a run to stand beside: A paper")
        return _composed(other.folder, PAPER_SCALE, other.variant, 1, f"{PAPER} ({PAPER_SCALE})")
    path = Path(text)
    if path.is_dir() and (path / "record" / "record.json").is_file():
        path = path / "record" / "record.json"
    if path.is_file():
        record = load(path)
        folder, variant = recipe_folder(record["recipe"]), record["variant"].partition("+")[0]
        sources = _sources(folder, record["scale"], variant)
        sources |= {o.lstrip("+~").partition("=")[0]: OVERRIDE for o in record["overrides"]}
        return Side(relative(path.resolve()), folder, variant, record["config"], sources)
    if path.parts[:1] in (("runs",), ("results",)):
        raise ValueError(
            f"{text}: no record there; give a record's file or a finished run's folder"
        )
    whole = (path / "recipe.yaml").is_file()
    name, rest = (text, ()) if whole else (path.parts[0], path.parts[1:])
    folder = recipe_folder(name)
    own = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))["recipe"]
    chosen = {"scale": "micro", "variant": own["variant"], "seed": "1"}
    scales, variants = choices(folder, "scale"), choices(folder, "variant")
    for part in rest:
        if part in scales:
            chosen["scale"] = part
        elif part in variants:
            chosen["variant"] = part
        elif re.fullmatch(r"seed\d+", part):
            chosen["seed"] = part.removeprefix("seed")
        else:
            known = [*scales, *variants]
            raise ValueError(
                f"{text}: {folder.name} has no scale or variant {part!r} "
                f"(there: {', '.join(known)}){suggest(part, known)}"
            )
    label = "/".join([folder.name, chosen["scale"], chosen["variant"]])
    return _composed(folder, chosen["scale"], chosen["variant"], int(chosen["seed"]), label)


def _composed(folder: Path, scale: str, variant: str, seed: int, name: str) -> Side:
    config = compose_run(folder, scale, variant, seed).config
    return Side(name, folder, variant, config, _sources(folder, scale, variant))


def compare(a: Side, b: Side) -> list[Difference]:
    """The keys that differ, in the order of the alphabet; null and missing are the same.

    A subtree that one side lacks is one difference, its value the number of keys. Where neither
    side has a critic, its keys are left out.
    """
    critics = [s.config.get("critic", {}).get("enable") for s in (a, b)]
    first, second = dict(leaves(a.config)), dict(leaves(b.config))
    differing = [
        k
        for k in sorted({*first, *second})
        if first.get(k) != second.get(k)
        and not (critics == [False, False] and k.startswith("critic."))
    ]
    found: dict[str, Difference] = {}
    for key in differing:
        top = _lacking(key, a.config) or _lacking(key, b.config)
        if top and top != key:
            below = [k for k in differing if k.startswith(f"{top}.")]
            counts = [sum(k in flat for k in below) for flat in (first, second)]
            one, other = (f"({n} keys)" if n else None for n in counts)
        else:
            top, one, other = key, first.get(key), second.get(key)
        theirs = a.sources.get(key)
        source = b.sources.get(key) or (f"of the first: {theirs}" if theirs else "")
        found.setdefault(top, Difference(kind_of(key), top, one, other, source))
    return list(found.values())


def kind_of(key: str) -> str:
    """`algorithmic`, `scale` or `logging`."""
    for kind, patterns in PATTERNS.items():
        if any(fnmatch(key, pattern) for pattern in patterns):
            return kind
    return ALGORITHMIC


def _lacking(key: str, config: dict[str, Any]) -> str | None:
    """The shortest part of a dotted key that a configuration has nothing at."""
    node: Any = config
    parts = key.split(".")
    for i, part in enumerate(parts):
        if not isinstance(node, dict) or node.get(part) in (None, {}):
            return ".".join(parts[: i + 1])
        node = node[part]
    return None


def _sources(folder: Path, scale: str, variant: str) -> dict[str, str]:
    """Dotted key -> the comment behind it, of the files that make one run; later files win."""
    found: dict[str, str] = {}
    for path in (folder / "recipe.yaml", *_chain(folder, "scale", scale)):
        found |= comments(path.read_text(encoding="utf-8"))
    for path in _chain(folder, "variant", variant):
        found |= comments(path.read_text(encoding="utf-8"))
    return found


def _chain(folder: Path, group: str, name: str) -> Iterator[Path]:
    """A scale's or variant's file after those that it builds on."""
    path = folder / group / f"{name}.yaml"
    if not path.is_file():  # a record may be older than the recipe's files
        return
    for base in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("defaults", []):
        if isinstance(base, str) and base != "_self_":
            yield from _chain(folder, group, base)
    yield path


def comments(text: str) -> dict[str, str]:
    """Dotted key -> the comment on the line of its value, of one YAML file."""
    lines, root = text.splitlines(), yaml.compose(text, yaml.SafeLoader)

    def walk(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, str]]:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            behind = re.search(r"\s#\s*(.*)$", lines[key.start_mark.line])
            yield name, behind[1] if behind else ""
            yield from walk(value, f"{name}.")

    return dict(walk(root, ""))


def show(a: Side, b: Side, found: list[Difference], console: Console) -> None:
    """One table a kind. Keys of scale and logging that no file of a recipe names (verl has dozens
    for each engine) are counted only."""
    if not found:
        console.print(f"{a.name} and {b.name}: no key differs")
    named = {*a.sources, *b.sources}
    for kind in (ALGORITHMIC, SCALE, LOGGING):
        here = [d for d in found if d.kind == kind]
        listed = [d for d in here if kind == ALGORITHMIC or d.key in named]
        if listed:
            table = Table(title=f"{kind} keys", title_justify="left")
            table.add_column("key", no_wrap=True)
            for head in (a.name, b.name, "source"):
                table.add_column(head, overflow="fold")
            for d in listed:
                table.add_row(*map(escape, (d.key, _text(d.a), _text(d.b), d.source)))
            console.print(table)
        if len(listed) < len(here):
            more = len(here) - len(listed)
            console.print(f"{kind}: {more} more keys differ that no recipe names; --json has them")


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else "-" if value is None else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
