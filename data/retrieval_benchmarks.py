"""Builder: questions with passages from RGB and NoMIRACL, for evaluation.

Passages of RGB are chosen and ordered as chen700564/RGB @65ec39e4 `evalue.py` does: `random` is
seeded with 2333 for each question anew.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.schema import build as typed
from data import prompts, store
from data.parquet import prompt_row, write_parquet
from data.sources import parse

RGB_SEED = 2333


@dataclass(frozen=True)
class Part:
    """`source`: a split of rgb_* or nomiracl_*. `passages`: how many a question gets (RGB: 5).

    `noise`: the share of RGB's passages without the answer; at 1 the task is rejection. `correct`:
    the share of right passages among the counterfactual. `take`: of NoMIRACL, at most so many
    relevant and as many non-relevant questions, drawn with seed 42; `answerable`: only the
    relevant, or only the others; `kbqa`: its questions want an answer or a refusal, not a judgement
    of the passages.
    """

    source: str
    template: str
    passages: int = 5
    noise: float = 0.0
    correct: float = 0.0
    take: int | None = None
    answerable: bool | None = None
    kbqa: bool = False


def build(folder: Path, seed: int, *, files: dict[str, dict[str, Any]]) -> None:
    """Write one parquet file for each of `files`, equal for every seed.

    Raises: ValueError naming the key of `recipe.data.options`, or the data file, that is wrong.
    """
    for name, options in files.items():
        found = rows(name, options, f"recipe.data.options.files.{name}")
        write_parquet(folder / f"{name}.parquet", found)


def rows(name: str, options: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """Rows of verl's schema of one part, of the split `name`.

    Raises: ValueError that begins with `where`, or names the data file, for what is wrong.
    """
    part = typed(Part, options, where)
    set_name, _ = parse(part.source)
    if part.passages < 1 or not 0 <= part.noise <= 1 or not 0 <= part.correct <= 1:
        raise ValueError(f"{where}: passages from 1 on, noise and correct from 0 to 1 are wanted")
    if set_name.startswith("rgb_"):
        content = _rgb(part, set_name.removeprefix("rgb_"), parse(part.source)[1])
    elif set_name.startswith("nomiracl_"):
        content = _nomiracl(part, set_name.removeprefix("nomiracl_"))
    else:
        raise ValueError(f"{where}.source: {part.source} is neither of RGB nor of NoMIRACL")
    template = prompts.load(part.template)
    found: list[dict[str, Any]] = []
    for row, passages, gold in content:
        task = gold["task"] if isinstance(gold, dict) and "task" in gold else ""
        found.append(
            prompt_row(
                f"{set_name}_{task}".rstrip("_"),
                template.render(row | {"documents": "\n".join(passages)}),
                gold,
                name,
                len(found),
                "retrieval",
                {"id": row["id"], "template": template.label},
            )
        )
    return found


Content = list[tuple[dict[str, Any], list[str], Any]]


def _rgb(part: Part, language: str, split: str) -> Content:
    task = "rejection" if split == "retrieval" and part.noise == 1 else split
    found: Content = []
    for row in store.rows(part.source):
        rng = random.Random(RGB_SEED)
        given = {key: json.loads(row[key]) for key in ("answers", "passages", "noise")}
        if split == "counterfactual":
            wrong = json.loads(row["wrong_passages"])
            passages = _counterfactual(rng, part, given["passages"], wrong, given["noise"])
        elif split == "integration":
            passages = _integration(rng, part, given["passages"], given["noise"])
        else:
            passages = _retrieval(part, given["passages"], given["noise"])
        rng.shuffle(passages)
        gold = {
            "answer": given["answers"],
            "task": task,
            "language": language,
            "query": row["problem"],
        }
        found.append((row, passages, gold | ({"wrong": row["wrong"]} if "wrong" in row else {})))
    return found


def _retrieval(part: Part, right: list[str], noise: list[str]) -> list[str]:
    """Right passages and noise in the wanted shares, and more of one where the other runs out."""
    unfit = math.ceil(part.passages * part.noise)
    if part.noise < 1:
        if unfit > len(noise):
            unfit = len(noise)
        elif part.passages - unfit > len(right):
            unfit = part.passages - len(right)
    return right[: part.passages - unfit] + noise[:unfit]


def _integration(
    rng: random.Random, part: Part, right: list[list[str]], noise: list[str]
) -> list[str]:
    """One passage for each part of the answer, then second ones as far as asked; then noise."""
    for group in right:
        rng.shuffle(group)
    wanted = part.passages - math.ceil(part.passages * part.noise)
    found = [group[0] for group in right]
    for place in range(1, max(len(group) for group in right)):
        for group in right:
            if len(found) < wanted and place < len(group):
                found.append(group[place])
    return found + noise[: max(0, part.passages - len(found))]


def _counterfactual(
    rng: random.Random, part: Part, right: list[str], wrong: list[str], noise: list[str]
) -> list[str]:
    """Passages with a wrong answer in place of the right one; `correct` of them left right."""
    unfit = math.ceil(part.passages * part.noise)
    correct = math.ceil(part.passages * part.correct)
    places = list(range(len(right)))
    changed = rng.sample(places, max(0, min(len(places), part.passages - unfit - correct)))
    found = [wrong[place] for place in changed]
    left = [place for place in places if place not in changed]
    if correct and left:
        found += [right[place] for place in rng.sample(left, min(len(left), correct))]
    return found + noise[:unfit]


def _nomiracl(part: Part, language: str) -> Content:
    rows = store.rows(part.source)
    rng = random.Random(42)
    found: Content = []
    for answerable in (True, False) if part.answerable is None else (part.answerable,):
        group = [row for row in rows if row["answerable"] is answerable]
        if part.take is not None and part.take < len(group):
            group = rng.sample(group, part.take)
        gold: Any = "relevant" if answerable else "non_relevant"
        if part.kbqa:
            gold = {"answerable": answerable, "language": language}
        for row in group:
            passages = json.loads(row["passages"])[: part.passages]
            found.append((row, passages, gold))
    return found
