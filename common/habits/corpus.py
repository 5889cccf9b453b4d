"""A text corpus labelled for the four habits, and rewritten with and without them.

As kanishkg/cognitive-behaviors @9c90d333, pretraining_analysis: web pages (OpenWebMath, FineMath)
cut to about 3,072 tokens, four counting prompts each; texts with a problem and its solution are
rewritten into question, thoughts and answer, and wrapped in the prompt of RL. Prompts are ours
(`data/prompts/corpus_*.txt`, `rewrite_*.txt`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.habits import HABITS
from common.habits.chat import Chat
from common.habits.classify import classify
from common.results.statistics import Interval, mean_interval, seed_interval
from data import formats, prompts

LABEL_TOKENS, REWRITE_TOKENS = 1024, 4090
LONGEST = 12_288  # characters of a text: 3,072 tokens of about four
LONGEST_TEXT = 16_360  # of a rewritten one: 4,090 tokens
STYLES = ("curated", "minimized")
_PART = {
    part: re.compile(rf"<{part}>(.*?)</{part}>", re.DOTALL)
    for part in ("question", "thoughts", "answer")
}
_YES = re.compile(r"<solution>\s{0,5}yes\s{0,5}</solution>", re.IGNORECASE)

Row = dict[str, Any]


def read_texts(path: Path, column: str, take: int | None) -> list[Row]:
    """`{"id", "text"}` of the first rows of JSON lines or parquet with texts.

    Raises: ValueError naming file and line, also where there is none."""
    rows: list[Row] = []
    for number, row in enumerate(formats.read_rows(path, {column})):
        if take is not None and number == take:
            break
        rows.append({"id": str(row.get("id", number)), "text": str(row[column] or "")})
    if not rows:
        raise ValueError(f"{path}: no texts")
    return rows


def label(chat: Chat, rows: Sequence[Row]) -> list[Row]:
    """Each text's id with its counts, and whether it has a problem with its solution."""
    cut = [{"text": row["text"][:LONGEST]} for row in rows]
    counts = classify(chat, cut, kind="corpus")
    template = prompts.load("corpus_solution")
    said = chat.answers([template.render(fields) for fields in cut])
    return [
        {"id": row["id"], **found.habits, "unread": list(found.unread)}
        | {"solution": bool(_YES.search(answer.text))}
        for row, found, answer in zip(rows, counts, said, strict=True)
    ]


@dataclass(frozen=True)
class Frequency:
    """Over the texts: share with a habit and mean count, with 95 % intervals."""

    texts: int
    share: float
    share_interval: Interval
    mean: float
    mean_interval: Interval | None


def frequencies(labels: Sequence[Row]) -> dict[str, Frequency]:
    """For each habit, for `any` of them, and for texts with a `solution`.

    Shares have Wilson's interval, mean counts Student's t. Raises: ValueError without labels."""
    if not labels:
        raise ValueError("no labels: nothing to count")
    columns = {habit: [int(row[habit]) for row in labels] for habit in HABITS}
    columns["any"] = [sum(counts) for counts in zip(*columns.values(), strict=True)]
    columns["solution"] = [int(row["solution"]) for row in labels]
    found = {}
    for name, counts in columns.items():
        there = [float(count > 0) for count in counts]
        found[name] = Frequency(
            len(counts),
            sum(there) / len(counts),
            mean_interval(there),
            sum(counts) / len(counts),
            seed_interval([float(c) for c in counts]) if len(counts) > 1 else None,
        )
    return found


def rewrite(chat: Chat, rows: Sequence[Row], style: str, template: str) -> list[Row]:
    """Texts as question, thoughts and answer in one piece, ready for continued pre-training.

    `style`: of STYLES; `template`: of the RL prompt, whose task is replaced by the question. Left
    out are texts that the model does not write in this form, and those that are too long.
    """
    if style not in STYLES:
        raise ValueError(f"no style {style!r}; there is {', '.join(STYLES)}")
    asking = prompts.load(f"rewrite_{style}")
    cut = [{"text": row["text"][:LONGEST]} for row in rows]
    answers = chat.answers([asking.render(fields) for fields in cut])
    return [
        {"id": row["id"], "text": text}
        for row, answer in zip(rows, answers, strict=True)
        for text in _assembled(answer.text, template)
    ]


def _assembled(answer: str, template: str) -> Iterator[str]:
    """The whole text of an answer; nothing where a part is missing or empty."""
    parts = {name: pattern.search(answer) for name, pattern in _PART.items()}
    found = {name: match[1].strip() for name, match in parts.items() if match}
    if len(found) < len(_PART) or not all(found.values()):
        return
    [turn] = prompts.load(template).render({"question": found["question"]})
    text = f"{turn['content']} {found['thoughts']} </think>\n<answer> {found['answer']} </answer>"
    if len(text) <= LONGEST_TEXT:
        yield text


def as_json(found: dict[str, Frequency]) -> dict[str, Any]:
    return {name: asdict(frequency) for name, frequency in found.items()}
