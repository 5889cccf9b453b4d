"""Builder: prompts and worked solutions from the data sets of `sources.yaml`.

One builder for every recipe whose data are published problems with answers: which sets, how many of
their rows, and which prompt template, are the recipe's options.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.console import say
from common.schema import build as typed
from data import prompts, store
from data.parquet import prompt_row, write_parquet
from data.sources import get_source, parse

NOT_EXTRA = ("problem", "answer", "solution", "numbers", "target")


@dataclass(frozen=True)
class Part:
    """Rows of one split. Filters come first, then `shuffle`, `skip` and `take`.

    `source`: `set/split`, or `set` with one split; `levels`: of MATH; `integers`: only answers that
    are whole numbers; `longest`: characters of a worked solution at most;
    `shuffle`: a seed, for the order of `datasets.Dataset.shuffle(seed)`;
    `template`: another than the builder's; `data_source`: another than the set's name, to route to
    another grader.
    """

    source: str
    take: int | None = None
    skip: int = 0
    shuffle: int | None = None
    levels: list[int] | None = None
    integers: bool = False
    longest: int | None = None
    template: str | None = None
    data_source: str | None = None


def build(
    folder: Path,
    seed: int,
    *,
    template: str,
    train: list[dict[str, Any]],
    tests: dict[str, list[dict[str, Any]]],
    validation: int | list[dict[str, Any]] = 0,
    sft: list[dict[str, Any]] | dict[str, list[dict[str, Any]]] | None = None,
) -> None:
    """Write `train`, `validation`, one file for each of `tests`, and `sft`, as parquet.

    `validation`: how many of the first training rows to hold out, or parts of its own; `sft`: parts
    whose worked solutions become the answers of a chat, or such parts by the name of their file.
    The files do not depend on the seed.
    Raises: ValueError naming the key of `recipe.data.options`, or the data file, that is wrong.
    """
    where = "recipe.data.options"
    rows = prompt_rows(train, template, "train", f"{where}.train")
    if isinstance(validation, int):
        if validation >= len(rows):
            raise ValueError(
                f"{where}.validation: {validation} held out of {len(rows)} training rows; ask less"
            )
        held, rows = rows[:validation], rows[validation:]
        for index, row in enumerate(held):
            row["extra_info"] |= {"split": "validation", "index": index}
        for index, row in enumerate(rows):
            row["extra_info"]["index"] = index
    else:
        held = prompt_rows(validation, template, "validation", f"{where}.validation")
    files = {"train": rows, "validation": held}
    for name, parts in tests.items():
        files[name] = prompt_rows(parts, template, name, f"{where}.tests.{name}")
    if isinstance(sft, dict):
        for name, parts in sft.items():
            files[name] = _conversations(parts, template, f"{where}.sft.{name}")
    else:
        files["sft"] = _conversations(sft or [], template, f"{where}.sft")
    for name, content in files.items():
        if content:
            write_parquet(folder / f"{name}.parquet", content)


def prompt_rows(
    parts: list[dict[str, Any]], template: str, split: str, where: str
) -> list[dict[str, Any]]:
    """Rows of verl's schema for the chosen rows of each part, in order.

    Raises: ValueError that begins with `where`, or names the data file, for what is wrong.
    """
    found: list[dict[str, Any]] = []
    for part, row in part_rows(parts, where):
        chosen = prompts.load(part.template or template)
        name, _ = parse(part.source)
        extra = {k: v for k, v in row.items() if k not in NOT_EXTRA} | {"template": chosen.label}
        found.append(
            prompt_row(
                part.data_source or name,
                chosen.render(row),
                row["answer"],
                split,
                len(found),
                get_source(name).ability,
                extra,
            )
        )
    return found


def _conversations(parts: list[dict[str, Any]], template: str, where: str) -> list[dict[str, Any]]:
    found = []
    for part, row in part_rows(parts, where):
        if not row.get("solution"):
            raise ValueError(f"{where}: {part.source} has no worked solutions")
        chosen = prompts.load(part.template or template)
        messages = chosen.render(row)
        messages.append({"role": "assistant", "content": row["solution"]})
        found.append({"messages": messages, "template": chosen.label})
    return found


def part_rows(parts: list[dict[str, Any]], where: str) -> Iterable[tuple[Part, dict[str, Any]]]:
    """Every chosen row with its part, in the order of the parts."""
    for number, options in enumerate(parts):
        part = typed(Part, options, f"{where}[{number}]")
        for row in choose(store.rows(part.source), part, f"{where}[{number}]"):
            yield part, row


def choose(rows: list[dict[str, Any]], part: Part, where: str) -> list[dict[str, Any]]:
    """The rows that a part asks for; ValueError when there are fewer than `skip` and `take` ask."""
    for key, given in (("answer", True), ("level", part.levels)):
        if given and key not in rows[0]:
            raise ValueError(f"{where}: {part.source} has no field {key!r} in data/sources.yaml")
    answered = [row for row in rows if row["answer"] not in (None, "")]
    if len(answered) < len(rows):
        say(f"data: {part.source}: {len(rows) - len(answered)} rows without an answer left out")
    if part.levels:
        answered = [row for row in answered if row["level"] in part.levels]
    if part.integers:
        answered = [row for row in answered if is_integer(row["answer"])]
    if part.longest is not None:
        answered = [row for row in answered if len(row.get("solution") or "") <= part.longest]
    if part.shuffle is not None:
        order = np.random.default_rng(part.shuffle).permutation(len(answered))
        answered = [answered[i] for i in order]
    chosen = answered[part.skip :][: part.take]
    if not chosen or (part.take is not None and len(chosen) < part.take):
        raise ValueError(
            f"{where}: {part.source} has {len(answered)} such rows, fewer than skip={part.skip} "
            f"and take={part.take} ask for"
        )
    return chosen


def is_integer(answer: Any) -> bool:
    return str(answer).removeprefix("-").isdecimal()
