"""Reward of the arithmetic-chain task: 1 when the final digit is right, else 0.

Reached by verl through `reward.custom_reward_function`; the evaluation stage calls the same code.
"""

from __future__ import annotations

import re

NAME, VERSION = "arithmetic_chain", "1"

# The last step of a worked solution, at the very end of the response: five characters, whatever
# stands before them.
_LAST_STEP = re.compile(r"[-+*]\d=(\d);\Z", re.ASCII)


def extract_answer(response: str) -> str | None:
    """The final digit of a response that ends in a whole step `?b=c;`, or None."""
    match = _LAST_STEP.search(response[-5:])
    return match.group(1) if match else None


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict | None = None
) -> dict[str, float]:
    """verl's reward signature. `score` and `acc` in {0, 1}; `format`: an answer could be read."""
    answer = extract_answer(solution_str)
    accuracy = float(answer == ground_truth)
    return {"score": accuracy, "acc": accuracy, "format": float(answer is not None)}
