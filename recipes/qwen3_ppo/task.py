"""Graders of qwen3_ppo's verifiable prompts: what follows the thought is graded.

A response may begin with a thought, `<think>...</think>`, where its prompt asks for one. The rules
of `kbqa_strict`, `arithmetic_chain` and `checkable` read what stands after the last `</think>`;
after a thought that is not closed there is no answer.
"""

from __future__ import annotations

from dataclasses import replace

from common.rewards import arithmetic_chain, checkable, retrieval_qa
from common.rewards.verdict import Grader, Row, Verdict

OPEN, CLOSE = "<think>", "</think>"


def answer_of(response: str | None) -> str | None:
    """The response without its thought; None where nothing is left to grade."""
    if response is None or CLOSE in response:
        return response and response.rpartition(CLOSE)[2]
    return None if OPEN in response else response


def _after_thought(grader: Grader) -> Grader:
    def grade(row: Row) -> Verdict:
        return grader.grade({**row, "response": answer_of(row["response"])})

    return replace(grader, grade=grade)


GRADERS = tuple(
    _after_thought(grader)
    for module in (arithmetic_chain, checkable, retrieval_qa)
    for grader in module.GRADERS
    if grader.name in ("arithmetic_chain", "checkable", "kbqa_strict")
)
