"""Graders of qwen3_ppo's verifiable prompts and benchmarks: what follows the thought is graded.

A response may begin with a thought, `<think>...</think>`, where its prompt asks for one. The rules
below read what stands after the last `</think>`; after a thought that is not closed there is no
answer. `ifeval_loose`: right where all instructions are followed by IFEval's loose reading.
"""

from __future__ import annotations

from dataclasses import replace

from common.rewards import arithmetic_chain, checkable, gsm8k, instructions, retrieval_qa
from common.rewards.verdict import Grader, Outcome, Row, Verdict

OPEN, CLOSE = "<think>", "</think>"
NAMES = ("arithmetic_chain", "checkable", "gsm8k", "ifeval", "kbqa", "kbqa_strict", "rgb")


def answer_of(response: str | None) -> str | None:
    """The response without its thought; None where nothing is left to grade."""
    if response is None or CLOSE in response:
        return response and response.rpartition(CLOSE)[2]
    return None if OPEN in response else response


def _after_thought(grader: Grader) -> Grader:
    def grade(row: Row) -> Verdict:
        return grader.grade({**row, "response": answer_of(row["response"])})

    return replace(grader, grade=grade)


def _loose(grader: Grader) -> Grader:
    def grade(row: Row) -> Verdict:
        verdict = grader.grade(row)
        followed = verdict.details["prompt_loose"]
        outcome = Outcome.CORRECT if followed else Outcome.WRONG
        return replace(verdict, outcome=outcome, score=followed)

    return replace(grader, name="ifeval_loose", grade=grade)


_AFTER = {
    grader.name: _after_thought(grader)
    for module in (arithmetic_chain, checkable, gsm8k, instructions, retrieval_qa)
    for grader in module.GRADERS
    if grader.name in NAMES
}
GRADERS = (*_AFTER.values(), _loose(_AFTER["ifeval"]))
