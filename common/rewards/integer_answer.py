"""Reward for problems with an integer answer: 1 when the last `\\boxed{...}` holds it, else 0."""

from __future__ import annotations

NAME, VERSION = "integer_answer", "1"

_OPEN = "\\boxed{"
_LONGEST = 32  # characters of an answer that is still read as an integer


def extract_answer(response: str) -> int | None:
    """The integer in the last closed box; commas and spaces inside a number are dropped."""
    start = response.rfind(_OPEN)
    if start < 0:
        return None
    start += len(_OPEN)
    end = response.find("}", start, start + _LONGEST + 1)
    if end < 0:
        return None
    text = response[start:end].replace(",", "").replace(" ", "").removeprefix("+")
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() else None


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict | None = None
) -> dict[str, float]:
    """verl's reward signature. `score` and `acc` in {0, 1}; `format`: an integer could be read."""
    answer = extract_answer(solution_str)
    accuracy = float(answer is not None and answer == int(ground_truth))
    return {"score": accuracy, "acc": accuracy, "format": float(answer is not None)}
