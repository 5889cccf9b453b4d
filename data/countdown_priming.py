"""Builder of Countdown with a priming set, or texts for continued pre-training, made beforehand.

`python -m common habits` makes these files, which cost money and are no part of a run. A builder's
`files` are those that it reads beside the published sets; the data's key has their contents.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.config import ROOT
from common.console import say
from common.habits.checks import CLAIMS, check_set
from common.habits.corpus import STYLES
from data import from_sources, prompts
from data.formats import read_rows
from data.parquet import write_parquet


def files(*, priming: str | None, made_in: str, **_: Any) -> list[Path]:
    """The file of the set `priming`; for texts of one style, those of the other too; none without
    a set."""
    others = [style for style in STYLES if priming in STYLES and style != priming]
    return [ROOT / made_in / f"{name}.jsonl" for name in (priming, *others) if name]


def build(
    folder: Path,
    seed: int,
    *,
    template: str,
    train: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    tests: dict[str, list[dict[str, Any]]],
    priming: str | None,
    made_in: str,
    rows: int | None = None,
) -> None:
    """Write train, validation and `tests` as `from_sources` does, and `<priming>.parquet`.

    `priming`: a set of `common/habits/checks.py` (rows with numbers, target and response), or
    `curated` or `minimized` (rows with an id and a text, of which those are taught that both styles
    have: the same problems); null for none. `made_in`: where its file lies, from the repository.
    `rows`: how many of it are taught. The same for every seed.
    Raises: ValueError for a file that is not there, or a set without the habits that it claims.
    """
    paths = files(priming=priming, made_in=made_in)
    contents = [_read(path, str(priming)) for path in paths]
    from_sources.build(
        folder, seed, template=template, train=train, validation=validation, tests=tests
    )
    if contents:
        content = contents[0]
        if priming in STYLES:
            content = _in_both(content, contents[1])[:rows]
            turns = [[{"role": "assistant", "content": row["text"]}] for row in content]
        else:
            parts = [part for test in (validation, *tests.values()) for part in test]
            content = _without_tests(content[:rows], parts)
            solutions = [row["response"] for row in content]
            check_set(str(priming), solutions, content, str(paths[0]), exact=False)
            wording = prompts.load(template)
            turns = [
                [*wording.render(row), {"role": "assistant", "content": row["response"]}]
                for row in content
            ]
        write_parquet(folder / f"{priming}.parquet", [{"messages": turn} for turn in turns])


def _read(path: Path, priming: str) -> list[dict[str, Any]]:
    if priming not in CLAIMS and priming not in STYLES:
        known = ", ".join([*CLAIMS, *STYLES])
        raise ValueError(f"recipe.warmups.priming.text={priming}: there is {known}")
    if not path.exists():
        raise ValueError(
            f"{path.relative_to(ROOT)}: not made yet; see `python -m common habits --help`"
        )
    columns = {"id", "text"} if priming in STYLES else {"numbers", "target", "response"}
    return list(read_rows(path, columns))


def _in_both(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows whose text the other style has, too. Raises: ValueError where none is."""
    ids = {row["id"] for row in others}
    kept = [row for row in rows if row["id"] in ids]
    if not kept:
        raise ValueError("no text is in both curated.jsonl and minimized.jsonl: rewrite one corpus")
    if len(kept) < len(rows):
        say(f"data: {len(rows) - len(kept)} texts left out: the other style lacks them")
    return kept


def _without_tests(
    rows: Sequence[dict[str, Any]], parts: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The rows whose puzzle, up to the order of its numbers, is not tested."""
    tested = from_sources.prompt_rows(parts, "countdown_raw", "test", "recipe.data.options")
    golds = [json.loads(row["reward_model"]["ground_truth"]) for row in tested]
    seen = {(tuple(sorted(g["numbers"])), g["target"]) for g in golds}
    kept = [r for r in rows if (tuple(sorted(r["numbers"])), r["target"]) not in seen]
    if len(kept) < len(rows):
        say(f"data: {len(rows) - len(kept)} priming puzzles left out: they are tested")
    return kept
