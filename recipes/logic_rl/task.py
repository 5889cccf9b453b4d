"""Logic-RL's rewards, for responses in words and for those in the symbols of the micro scale.

`published` is the training reward, `evaluation_parser` the same scale with the answer read as the
published evaluation reads it, `evaluation` that evaluation (1 or 0), and `strict` (ours, 1 or 0) a
thought and then nothing but the right answer. A response of nothing but symbols
(data/knights_knaves_symbols.py) is written out in words first, so that both scales are graded by
the same rules (common/rewards/knights_knaves.py). Only `strict` looks at the symbols themselves,
because a thought in symbols has none of the words that it asks for: there it is the walk through
the worlds, none left out, to the one that the answer gives.

Prompts in words end in `<think>`, which `kk_published_opened` adds; those in symbols do not.
"""

from __future__ import annotations

import re
from itertools import islice, product

from common.rewards import knights_knaves
from common.rewards.verdict import Grader, Outcome, Row, Verdict
from data.knights_knaves_symbols import Symbols

SYMBOLS = Symbols()
_ALPHABET = frozenset(SYMBOLS.alphabet)
_WORDS = {grader.name: grader.grade for grader in knights_knaves.GRADERS}
_METRICS = ("format_ok", "answer_read", "answer_ok")
# worlds that clash and one that holds, then a role for each person, and the end
_WHOLE = re.compile(r"\{((?:[kn]+[01]+x)*[kn]+[01]+\.)\}\[((?:[A-H][kn])+)\]")
_WORLD = re.compile("[kn]+")


def in_symbols(response: str | None) -> bool:
    """Whether a response has symbols alone (the empty one has)."""
    return response is not None and _ALPHABET.issuperset(response)


def _in_words(row: Row) -> Row:
    return {**row, "response": SYMBOLS.expand(row["response"])}


def _published(row: Row) -> Verdict:
    if in_symbols(row["response"]):
        return _WORDS["kk_published"](_in_words(row))
    return _WORDS["kk_published_opened"](row)


def _evaluation(row: Row) -> Verdict:
    return _WORDS["kk_eval"](_in_words(row) if in_symbols(row["response"]) else row)


def _evaluation_parser(row: Row) -> Verdict:
    verdict = _evaluation(row)
    found = verdict.details
    if verdict.outcome is Outcome.UNGRADABLE:
        return Verdict(verdict.outcome, -3.0)
    answer = 2.0 if found["answer_ok"] else -1.5 if found["answer_read"] else -2.0
    form = 1.0 if found["format_ok"] else -1.0
    return Verdict(verdict.outcome, form + answer, verdict.extracted, found)


def _walks(worlds: list[str], roles: str) -> bool:
    """Whether `worlds` are all up to the one of `roles`, everybody a knight first."""
    first = islice(product("kn", repeat=len(roles)), len(worlds))
    return worlds == list(map("".join, first)) and worlds[-1] == roles


def _strict(row: Row) -> Verdict:
    if not in_symbols(row["response"]):
        return _WORDS["kk_strict"](row)
    verdict = _published(row)  # counts the roles, so nobody is there beyond the gold's people
    if verdict.outcome is Outcome.UNGRADABLE:
        return Verdict(verdict.outcome, 0.0)
    whole = _WHOLE.fullmatch(row["response"])
    form = False
    if whole and SYMBOLS.people.startswith(whole[2][::2]):
        form = _walks(_WORLD.findall(whole[1]), whole[2][1::2])
    read = form and bool(verdict.details["answer_read"])
    right = form and verdict.outcome is Outcome.CORRECT
    details = {"format_ok": float(form), "answer_read": float(read), "answer_ok": float(right)}
    outcome = Outcome.CORRECT if right else Outcome.WRONG
    return Verdict(outcome, float(right), verdict.extracted, details)


GRADERS = (
    Grader("published", "1", _published, metrics=_METRICS),
    Grader("evaluation_parser", "1", _evaluation_parser, metrics=_METRICS),
    Grader("evaluation", "1", _evaluation, metrics=_METRICS),
    Grader("strict", "2", _strict, metrics=_METRICS),
)
