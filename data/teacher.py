"""A teacher's answers to the prompts of a built data file, from an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import re
from pathlib import Path

from common.console import say
from common.habits.chat import Chat
from data.parquet import read_parquet

_THOUGHT = re.compile(r"^\s*<think>.*?</think>\s*", re.DOTALL)


def answer(prompts: Path, to: Path, chat: Chat, take: int | None) -> None:
    """Write a JSON line, `prompt` (chat messages) and `answer`, for each of the first `take` rows
    of a parquet file. Left out: answers that were cut at the limit, and empty ones; of an answer
    with a thought, the thought.

    Raises: ValueError for a file without prompts; ChatError when a request fails for good, after
    which the same command goes on.
    """
    rows = [[dict(turn) for turn in row["prompt"]] for row in read_parquet(prompts, ("prompt",))]
    rows = rows[:take]
    lines = []
    for prompt, found in zip(rows, chat.answers(rows), strict=True):
        text = _THOUGHT.sub("", found.text).strip()
        if found.finish != "length" and text:
            lines.append(json.dumps({"prompt": prompt, "answer": text}, ensure_ascii=False))
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    say(f"data: {len(lines)} of {len(rows)} prompts answered: {to} ({chat.cost})")
