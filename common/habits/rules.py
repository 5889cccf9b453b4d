"""The four habits counted by rules, in a solution of a Countdown puzzle.

The definitions are those of the paper's four classifier prompts (kanishkg/cognitive-behaviors
@9c90d333), as far as patterns go. Linear time in the text; the text is never evaluated.

- verification: a remark on a result beside the target: too low, not 24, this works.
- backtracking: a calculation that does not use the result before it, but a number that the current
  try has used already: a new try begins.
- subgoal: an explicit intermediate aim: first I want to make 12.
- backward: a calculation, or a remark, that starts from the target.
"""

from __future__ import annotations

import re

# what is read of a response: more than any limit of tokens gives
LONGEST = 20_000
# a blank is taken in one way only, or a text without an equals sign would be tried in very many
_SIGN = r" {0,3}[-+*/x×÷] {0,3}"
_TERM = r"(?:\( ?)?\d{1,9}(?: ?\))?"
_EQUATION = re.compile(rf"({_TERM}(?:{_SIGN}{_TERM}){{1,5}}) {{0,3}}= {{0,2}}(\d{{1,9}})")
_NUMBER = re.compile(r"\d{1,9}")


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{p})" for p in patterns), re.IGNORECASE)


_VERIFICATION = _any(
    r"\btoo (?:low|high|small|big|large|far)\b",
    r"\b(?:this|that|it) (?:works|is correct|is right|matches)\b",
    r"\b(?:does not|doesn't|do not|don't|didn't) (?:work|equal|match|reach|give)\b",
    r"\bnot (?:equal to )?(?:the|our) target\b",
    r"\b(?:equals|matches|is|reaches|hits) (?:the|our) target\b",
    r"\b(?:is not|isn't|not equal to) {0,2}\d{1,9}\b",
    r"(?:≠|!=) {0,2}\d",
    r"\b(?:let me|let's|to) (?:verify|check|double-check)\b",
    r"\bclose(?:r)? to (?:the target|\d)",
    r"[✓✗✔✘]",
)
_SUBGOAL = _any(
    r"\bfirst,? (?:i|we|let's|let me|let us)(?:'ll)? {0,2}(?:want|need|try|aim|get|make|find|will)",
    r"\b(?:aim|aiming|aims) (?:for|to get|to make)\b",
    r"\b(?:sub-?goal|intermediate (?:goal|target|step))\b",
    r"\bif (?:i|we) can (?:get|make|reach) (?:to )?\d",
    r"\b(?:next|now),? (?:i|we) (?:want|need) (?:to )?(?:get|make|reach)?",
)
_BACKWARD = _any(
    r"\bwork(?:ing)? (?:back(?:wards?)?|from the target)\b",
    r"\b(?:start|starting|starts) (?:from|with) the target\b",
    r"\bbackward from\b",
    r"\bto (?:get|reach|make) (?:the target|\d{1,9}),? (?:i|we) (?:need|could|would need)\b",
)


def equations(text: str) -> list[tuple[list[int], int]]:
    """The calculations in a text: the numbers on the left, and the result as written."""
    found = []
    for match in _EQUATION.finditer(text[:LONGEST]):
        operands = [int(n) for n in _NUMBER.findall(match[1])]
        found.append((operands, int(match[2])))
    return found


def count(text: str | None, target: int | None = None) -> dict[str, int]:
    """How often each of `HABITS` occurs in a solution, the thought alone where it has tags.

    `target`: of the puzzle; without it, calculations that begin with the target are not known to.
    """
    thought = (text or "")[:LONGEST].partition("</think>")[0]
    used: set[int] = set()
    last: int | None = None
    restarts = backwards = 0
    for operands, result in equations(thought):
        if target is not None and operands[0] == target and last != target:
            backwards += 1
            continue
        if last not in operands and not used.isdisjoint(operands):
            restarts += 1
            used = set()
        used |= set(operands)
        last = result
    remarks = len(_BACKWARD.findall(thought))
    return {
        "verification": len(_VERIFICATION.findall(thought)),
        "backtracking": restarts,
        "subgoal": len(_SUBGOAL.findall(thought)),
        "backward": max(remarks, backwards),
    }
