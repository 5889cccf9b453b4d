"""The four habits counted by a language model: one prompt a habit, the count read from its tag.

As kanishkg/cognitive-behaviors @9c90d333: four separate prompts for each response, at most 512
tokens, `<count>` read from the answer, 0 where there is none. The prompts are ours
(`data/prompts/habit_*.txt`), written from the published definitions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.habits import HABITS
from common.habits.chat import Chat
from data import prompts

MAX_TOKENS = 512
_COUNT = re.compile(r"<count>\s{0,5}(\d{1,4})\s{0,5}</count>", re.IGNORECASE)


@dataclass(frozen=True)
class Counts:
    """`habits`: how often each occurs; `unread`: habits whose answer has no count (taken as 0)."""

    habits: dict[str, int]
    unread: tuple[str, ...]


def read_count(answer: str) -> int | None:
    """The last count of an answer; None without one."""
    found = _COUNT.findall(answer)
    return int(found[-1]) if found else None


def classify(chat: Chat, texts: Sequence[dict[str, Any]], kind: str = "habit") -> list[Counts]:
    """Counts for each text, in order.

    `texts`: the fields of the prompts `<kind>_<habit>`: of `habit` response, numbers and target, of
    `corpus` text. Raises: ChatError.
    """
    templates = [prompts.load(f"{kind}_{habit}") for habit in HABITS]
    asked = [template.render(fields) for fields in texts for template in templates]
    answers = [read_count(answer.text) for answer in chat.answers(asked)]
    found = []
    for i in range(0, len(answers), len(HABITS)):
        counts = dict(zip(HABITS, answers[i : i + len(HABITS)], strict=True))
        unread = tuple(h for h, c in counts.items() if c is None)
        found.append(Counts({h: c or 0 for h, c in counts.items()}, unread))
    return found
