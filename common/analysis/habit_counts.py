"""Counts of habits in saved responses: by rules, and by a language model that was asked before.

`python -m common habits classify` leaves the model's counts beside the responses, in
`<benchmark>.habits.jsonl`, and beside what verl saved of its validations, in `<step>.habits.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.analysis.runs import (
    AFTER,
    BEFORE,
    Run,
    problems,
    read_responses,
    saved_benchmarks,
    select,
)
from common.console import say
from common.habits import HABITS
from common.habits.rules import count
from common.results.provenance import sha256_json
from common.rewards.countdown import puzzle
from common.runs import relative
from data.habit_traces import expand, in_symbols

if TYPE_CHECKING:
    from common.habits.chat import Chat

SUFFIX = ".habits.jsonl"
VALIDATION = Path("train") / "validation"


def in_words(response: str) -> str:
    """The response as a reader sees it, where it is in symbols."""
    return expand(response) if in_symbols(response) else response


def rule_counts(row: dict[str, Any]) -> dict[str, int]:
    """The counts that the grader left in a saved response; counted now where it left none."""
    if all(habit in row for habit in HABITS):
        return {habit: int(row[habit]) for habit in HABITS}
    return count(in_words(row["response"]))


def classified(run: Run, stage: str, benchmark: str) -> dict[tuple[str, int], dict[str, int]]:
    """(problem, sample) -> the model's counts; empty where it was not asked."""
    path = run.folder / stage / f"{benchmark}{SUFFIX}"
    return {(row["id"], row["sample"]): row for row in _lines(path)}


def validation_counts(runs: Iterable[Run]) -> dict[int, list[dict[str, int]]]:
    """Step -> the model's counts in validation responses, of all runs together."""
    found: dict[int, list[dict[str, int]]] = {}
    for run in runs:
        for path in (run.folder / VALIDATION).glob(f"*{SUFFIX}"):
            found.setdefault(int(path.name.removesuffix(SUFFIX)), []).extend(_lines(path))
    return dict(sorted(found.items()))


def classify_runs(chat: Chat, recipe: str, words: list[str], samples: int) -> None:
    """Have the model count in `samples` responses of every model and validation of the runs.

    Raises: ValueError where there are no saved responses, or their problems are no Countdown;
    ChatError.
    """
    for selection in select(recipe, words, responses=True):
        for run in selection.runs:
            for stage in (BEFORE, AFTER):
                for benchmark in saved_benchmarks(run, ()):
                    golds = problems(run, stage, benchmark)
                    rows = [
                        {"id": r["id"], "sample": r["sample"], "response": r["response"]}
                        | {"gold": golds[r["id"]]["reward_model"]["ground_truth"]}
                        for r in read_responses(run, stage, benchmark)
                    ]
                    path = run.folder / stage / f"{benchmark}{SUFFIX}"
                    _classify(chat, chosen(rows, samples), path)
            for path in sorted((run.folder / VALIDATION).glob("*.jsonl")):
                if not path.name.endswith(SUFFIX):
                    rows = [
                        {"id": str(i), "sample": 0, "response": r["output"], "gold": r["gts"]}
                        for i, r in enumerate(_lines(path))
                    ]
                    target = path.with_name(f"{path.stem}{SUFFIX}")
                    _classify(chat, chosen(rows, samples), target)


def chosen(rows: list[dict[str, Any]], samples: int) -> list[dict[str, Any]]:
    """`samples` of the rows, the same whenever asked: those whose hash comes first."""
    order = sorted(rows, key=lambda row: sha256_json([row["id"], row["sample"]]))
    return order[:samples]


def _classify(chat: Chat, rows: list[dict[str, Any]], path: Path) -> None:
    from common.habits.classify import classify
    from common.habits.command import write_lines

    fields = []
    for row in rows:
        gold = puzzle(row["gold"])
        if gold is None:
            raise ValueError(f"{relative(path)}: problem {row['id']} is no Countdown puzzle")
        numbers, target = gold
        text = in_words(row["response"]).partition("</think>")[0]
        fields.append({"response": text, "numbers": numbers, "target": target})
    found = classify(chat, fields)
    unread = sum(len(c.unread) for c in found)
    if unread:
        say(f"{relative(path)}: {unread} of {4 * len(found)} answers have no count: taken as 0")
    write_lines(
        path,
        [
            {"id": row["id"], "sample": row["sample"], **c.habits, "unread": list(c.unread)}
            for row, c in zip(rows, found, strict=True)
        ],
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except ValueError:
        raise ValueError(f"{relative(path)}: not JSON lines; delete it, and ask again") from None
