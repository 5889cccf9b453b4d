"""Graders of mathematics: `math` (a response against a gold answer) and `math_equiv` (two answers).

Extraction (`extract`), tokens (`tokens`), a bounded parser (`syntax`), values (`values`) and
comparison (`compare`) are linear in the response and decide almost every row in the caller; what
they leave open goes to math-verify (`fallback`) in a child process.

Stricter than the graders in use: a number is never taken for its hundredfold (a percentage counts
as its figure and as its decimal), integers are compared exactly, brackets of intervals count, an
unclosed box or an unfinished thought holds no answer, and of several boxes the last one counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from common.rewards.mathematics import extract, fallback
from common.rewards.mathematics.compare import contradicts_itself, is_relation, same
from common.rewards.mathematics.syntax import LONGEST, Parsed, parse
from common.rewards.verdict import Grader, Outcome, Row, Verdict

VERSION = "2"

_FACES = re.compile(r"\\(?:text[a-z]*|mathrm|mathbf|mbox|boldsymbol)\b|[{}$~\\\s]")
_TEXT = re.compile(r"\\(?:text[a-z]*|mbox)\s*\{[^{}\\$^_=]*\}")
_WORDS = re.compile(r"\\(?:text[a-z]*|mbox|mathrm|mathbf|mathit)\s*\{([^{}]*)\}")
_FURTHER = re.compile(r"\d|\b(?:or|if|else|otherwise)\b", re.IGNORECASE)
_APART = re.compile(r"\d(?:\s|\\[ ,;:!])+\d")
_CHOICE = re.compile(r"\(([A-J])\)|([A-J])[.:)]")
_LATER_CHOICE = re.compile(r"\([A-J]\)|(?<![A-Za-z])[A-J](?:[.:)]|$)")


@lru_cache(maxsize=2048)
def _gold(text: str) -> tuple[str, Parsed | None]:
    """The gold answer (what is in its box, if it has one) and its parse (None: overlong)."""
    box = extract.last_box(text)
    text = (box and extract.held(text, box)) or text.strip()
    return text, parse(text) if len(text) <= LONGEST else None


def gold_text(row: Row) -> str:
    """`row["gold"]` as text; a number counts as its decimal notation.

    Raises: ValueError when it is missing, no text and no finite number.
    """
    gold = row.get("gold")
    if isinstance(gold, str):
        return gold
    if isinstance(gold, (int, float)) and not isinstance(gold, bool) and math.isfinite(gold):
        return str(int(gold)) if gold == int(gold) else repr(gold)
    raise ValueError(
        f"gold: {type(gold).__name__} given, a text (or a number) needed; "
        "a list of answers is one text, separated by commas"
    )


def decide(
    gold: str,
    answer: str,
    digits: int | None = None,
    relations: bool = True,
    contradictions: bool = False,
) -> Outcome | None:
    """Compare two answers in bounded time; None: math-verify has to say.

    `relations=False`: a set is not answered by a relation (`[0,1]` by `0 <= x <= 1`).
    `contradictions=True`: of `x = 41 = 42` the last value counts, as for Math-Verify.
    """
    gold, expected = _gold(gold)
    if not gold:
        return Outcome.UNGRADABLE
    if gold == answer:
        return Outcome.CORRECT
    if len(answer) > LONGEST or expected is None:
        equal = _squashed(gold) == _squashed(answer)
        if equal:
            return Outcome.CORRECT
        return Outcome.UNGRADABLE if expected is None else Outcome.WRONG
    if extract.NEGATION.search(answer) and not extract.NEGATION.search(gold):
        return Outcome.WRONG
    found = parse(answer)
    if not relations and is_relation(found) and not is_relation(expected):
        return Outcome.WRONG
    try:
        equal_here = same(expected, found, digits)
    except RecursionError:  # hundreds of levels, as in 1%%%...: no problem has such an answer
        return Outcome.WRONG
    # a gold may say the same: log(0.01) = -2 holds for a base that is not written down
    own = equal_here and not contradictions and not contradicts_itself(expected)
    if own and contradicts_itself(found):
        return Outcome.WRONG
    if equal_here is None or not equal_here:
        if len(expected.spelling) == 1 and _chosen_letter(answer) == expected.spelling:
            return Outcome.CORRECT
        letters = _letters(gold)
        if len(letters) > 1 and _TEXT.fullmatch(gold) and letters == _letters(answer):
            return Outcome.CORRECT
        if not expected.readings and _squashed(gold) == _squashed(answer):
            return Outcome.CORRECT
    if equal_here is not None:
        return Outcome.CORRECT if equal_here else Outcome.WRONG
    if _TEXT.fullmatch(gold):
        return Outcome.WRONG
    if _further(answer) and not _further(gold):
        return Outcome.WRONG  # math-verify drops words, and with them further answers
    if expected.readings and not found.readings:
        # the parser reads what is no LaTeX; numbers side by side are no formula
        plain = "\\" not in answer or _APART.search(answer)
        if plain or len(answer) > fallback.LONGEST:
            return Outcome.WRONG
    return None


def _further(text: str) -> bool:
    """Whether words in a formula name more answers or a condition."""
    return any(map(_FURTHER.search, _WORDS.findall(text)))


def _letters(text: str) -> str:
    return "".join(c for c in _FACES.sub("", text) if c.isalnum()).lower()


def _squashed(text: str) -> str:
    """Without white space and backslashes: some published golds have lost half of theirs."""
    return "".join(text.split()).replace("\\", "").replace("dfrac", "frac")


def _chosen_letter(answer: str) -> str | None:
    """The letter of `(C) 12`, `C. 12` or `\\textbf{(C)}`; None when other letters follow."""
    plain = _FACES.sub("", answer)
    match = _CHOICE.match(plain)
    if match is None:
        return None
    rest = plain[match.end() :]
    if _LATER_CHOICE.search(rest) or rest[:1] in ("+", "-", "*", "/", "^", "=", ","):
        return None
    return match.group(1) or match.group(2)


def settled(gold: str, answer: str) -> Outcome:
    """The outcome of a pair that `decide` leaves open."""
    expected, parsed = _gold(gold)
    found = fallback.agree(expected, answer)
    if found is None:
        readable = parsed is not None and parsed.readings
        return Outcome.WRONG if readable else Outcome.UNGRADABLE
    return Outcome.CORRECT if found else Outcome.WRONG


def _verdict(outcome: Outcome, extracted: str | None, found: str) -> Verdict:
    score = 1.0 if outcome is Outcome.CORRECT else 0.0
    return Verdict(outcome, score, extracted, {"found": found})


# --- math ---------------------------------------------------------------------------------------


def fast(row: Row) -> Verdict | None:
    """The verdict of `grade` where it needs no child process; None elsewhere."""
    gold = gold_text(row)
    given, prompt = row.get("response"), row.get("prompt")
    response = given if isinstance(given, str) else ""
    answer, found = extract.answer(response, prompt)
    if not gold.strip():
        return _verdict(Outcome.UNGRADABLE, answer, found)
    if answer is None:
        return _verdict(Outcome.WRONG, None, found)
    outcome = decide(gold, answer)
    if found == "boxes" and outcome is not Outcome.CORRECT:
        # one answer in several forms, 3/2 or 1.5, or further answers
        boxes = extract.boxes(response, prompt)
        if all(decide(gold, box) is Outcome.CORRECT for box in boxes):
            outcome = Outcome.CORRECT
    if outcome is Outcome.CORRECT and found == "box":
        later = extract.after_box(response, prompt)
        if later and parse(later[:LONGEST]).readings and decide(answer, later) is Outcome.WRONG:
            outcome = Outcome.WRONG  # \boxed{5}, and then "the answer is 6"
    return None if outcome is None else _verdict(outcome, answer, found)


def grade(row: Row) -> Verdict:
    """Whether the answer in `response` is `gold`: score 1 or 0.

    The answer is what the last `\\boxed{}` behind the thought holds, with neighbouring boxes as one
    list; without any box, what is stated as the answer, or the last formula or number of the last
    sentence. Nothing that its own sentence denies (`denial`) is an answer. `prompt`
    (optional text) is not searched when the response repeats it. A gold that cannot be
    read is UNGRADABLE unless the answer is the same text. Raises ValueError for a `gold` that is
    neither text nor number.
    """
    verdict = fast(row)
    if verdict is not None:
        return verdict
    answer, found = extract.answer(row["response"], row.get("prompt"))
    return _verdict(settled(gold_text(row), answer or ""), answer, found)


# --- math_equiv ---------------------------------------------------------------------------------


def _pair(row: Row) -> tuple[str, str, dict[str, Any]]:
    """Gold, answer and the options of `decide` that `params` stands for."""
    params = row.get("params") or {}
    if not isinstance(params, Mapping):
        raise ValueError("params: a mapping of Math-Verify's settings needed")
    options: dict[str, Any] = {
        "relations": params.get("allow_set_relation_comp") is not False,
        "contradictions": True,
    }
    precision = params.get("precision", 6)
    if not isinstance(precision, int) or not 0 <= precision <= 50:
        raise ValueError("params: precision must be a whole number of decimals, 0 to 50")
    if precision != 6:  # Math-Verify's default, for which compare.py has its own rule
        options["digits"] = precision
    response = row.get("response")
    answer = extract.pair_member(response) if isinstance(response, str) else ""
    return extract.pair_member(gold_text(row)), answer, options


def fast_equiv(row: Row) -> Verdict | None:
    """The verdict of `grade_equiv` where it needs no child process; None elsewhere."""
    gold, answer, options = _pair(row)
    if not answer and gold:
        return _verdict(Outcome.WRONG, None, "none")
    outcome = decide(gold, answer, **options)
    return None if outcome is None else _verdict(outcome, answer, "pair")


def grade_equiv(row: Row) -> Verdict:
    """Whether two answers are the same: `response` (the prediction) and `gold`; score 1 or 0.

    Either may be a bare answer or a text that holds one; neighbouring boxes are one list. Of
    Math-Verify's settings in `params`, `precision` (decimals) and `allow_set_relation_comp` count;
    `strict` is always on.
    """
    verdict = fast_equiv(row)
    if verdict is not None:
        return verdict
    gold, answer, _ = _pair(row)
    return _verdict(settled(gold, answer), answer, "pair")


GRADERS = (
    Grader("math", VERSION, grade, bounded=False, warm=fallback.warm, fast=fast),
    Grader("math_equiv", VERSION, grade_equiv, bounded=False, warm=fallback.warm, fast=fast_equiv),
)
