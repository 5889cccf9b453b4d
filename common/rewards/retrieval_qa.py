"""Graders of retrieval question answering: answer when the passages hold the answer, else refuse.

`rgb`, as published: chen700564/RGB @65ec39e4 `evalue.py`. `nomiracl`, as published:
project-miracl/nomiracl @2404a27b `prompts/template.py` (vanilla). `kbqa`: the Qwen3-RL post gives
the counts TP/FP/TN/FN of an internal set and no rule; what follows from its table is that TP + FN
are the answerable items and FP + TN the others. The rest of `kbqa`, and the `_strict` readings,
are ours.

`gold` is an answer as RGB writes it (a text, or a list of answers that are all
wanted, each a text or a list of its spellings), or a mapping:
    answer    as above; "unanswerable" or absent where no passage holds it (`kbqa` only)
    task      `rgb`: retrieval (default), integration, rejection, counterfactual
    language  "en" or "zh"; without it zh where the answer or query has a Chinese character
    query     the question, whose words a strict answer may repeat
    wrong     answers known to be wrong (RGB's `fakeanswer`), refused by the strict readings
    refusal   the refusal that the prompt asked for, beside the usual ones
    answerable  `kbqa`: true with no `answer` at hand: any answer counts, as in NoMIRACL
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from common.rewards import short_answer
from common.rewards.verdict import Grader, Outcome, Row, Verdict

TASKS = ("retrieval", "integration", "rejection", "counterfactual")
UNANSWERABLE = "unanswerable"
_CHINESE = re.compile("[\u4e00-\u9fff]")

# RGB's own keywords; their case counts.
_RGB_REFUSAL = ("信息不足", "insufficient information")
_RGB_ERROR = ("事实性错误", "factual errors")
# `kbqa`: RGB's and NoMIRACL's, and the usual ones (ours); matched without case.
_REFUSAL = (
    *_RGB_REFUSAL,
    *("i don't know", "i do not know", "cannot answer", "can not answer", "can't answer"),
    *(UNANSWERABLE, "not enough information", "answer is not present"),
    *("无法回答", "不能回答", "我不知道", "没有足够的信息", "没有足够信息", "无法基于提供的文档"),
)


class _Gold:
    """A gold answer, read and checked; `answers`: list of lists of spellings, all wanted."""

    def __init__(self, gold: Any) -> None:
        fields = _fields(gold)
        self.task = fields.get("task", "retrieval")
        if self.task not in TASKS:
            raise ValueError(f"gold.task: {self.task!r}; use one of {', '.join(TASKS)}")
        answer = fields.get("answer")
        says_no = isinstance(answer, str) and answer.strip().casefold() == UNANSWERABLE
        self.answers = [] if answer is None or says_no else _groups(answer)
        self.answerable = fields.get("answerable", bool(self.answers))
        known = "answer" in fields or "answerable" in fields or self.task == "rejection"
        if not (known and isinstance(self.answerable, bool)):
            raise ValueError("gold: give an `answer`, or `answerable` as true or false")
        self.answerable = self.answerable and self.task != "rejection"
        texts = {}
        for key in ("query", "refusal", "language"):
            texts[key] = fields.get(key) or ""
            if not isinstance(texts[key], str):
                raise ValueError(f"gold.{key}: a text was wanted, not {type(texts[key]).__name__}")
        self.query, self.refusal = texts["query"], texts["refusal"]
        self.wrong = [s for group in _groups(fields.get("wrong") or "", "wrong") for s in group]
        shown = "".join(s for spellings in self.answers for s in spellings) + self.query
        if texts["language"] not in ("", "en", "zh"):
            raise ValueError(f"gold.language: {texts['language']!r}; use en or zh")
        self.chinese = (texts["language"] or ("zh" if _CHINESE.search(shown) else "en")) == "zh"
        # no verdict can rest on an empty answer: it is part of every text
        self.readable = all(spellings and all(spellings) for spellings in self.answers)

    def found_in(self, text: str) -> list[str | None]:
        """Per wanted answer the first spelling that is part of `text` (lower case), or None."""
        return [next((s for s in group if s.lower() in text), None) for group in self.answers]


def _fields(gold: Any) -> Mapping[str, Any]:
    """The gold as a mapping; mappings and lists may come as their JSON text.

    A text that begins as one and is none is an answer that cannot be read: an empty one.
    """
    if isinstance(gold, str) and gold.lstrip()[:1] in ("{", "["):
        try:
            gold = json.loads(gold)
        except (json.JSONDecodeError, RecursionError):
            gold = ""
    if isinstance(gold, Mapping):
        return gold
    if not isinstance(gold, str | list | tuple):
        raise ValueError(f"gold: text, list or mapping is wanted, not {type(gold).__name__}")
    return {"answer": gold}


def _groups(answer: Any, key: str = "answer") -> list[list[str]]:
    groups = answer if isinstance(answer, list | tuple) else [answer]
    spellings = [list(g) if isinstance(g, list | tuple) else [g] for g in groups or [""]]
    for text in (s for group in spellings for s in group):
        if not isinstance(text, str):
            raise ValueError(f"gold.{key}: texts are wanted, not {type(text).__name__}")
    return [[s if s.strip() else "" for s in group] for group in spellings]


def _verdict(right: bool, extracted: str | None, **details: Any) -> Verdict:
    return Verdict(Outcome.CORRECT if right else Outcome.WRONG, float(right), extracted, details)


def _unreadable(why: str) -> Verdict:
    return Verdict(Outcome.UNGRADABLE, 0.0, None, {"why": why})


def _rgb(row: Row) -> Verdict:
    """As published. `score` 1: all answers are part of the text and no refusal keyword is; for
    rejection (all passages are noise) a refusal, or the right answer in spite of them; for
    counterfactual passages the error named, and no wanted answer missing.

    details: `task`; `labels` (1, 0 per answer; [-1] for a refusal); `error_named`.
    """
    gold = _Gold(row["gold"])
    if not gold.readable or not (gold.answers or gold.task == "rejection"):
        return _unreadable("the gold answer is empty")
    text = row["response"] or ""
    if gold.chinese:
        text = text.replace(" ", "")
    error_named = any(phrase in text for phrase in _RGB_ERROR)
    found = gold.found_in(text.lower())
    refused = any(phrase in text for phrase in _RGB_REFUSAL)
    labels = [-1] if refused else [int(spelling is not None) for spelling in found] or [0]
    extracted = "refusal" if refused else "; ".join(s for s in found if s) or None
    if gold.task == "rejection":
        right = 0 not in labels
    elif gold.task == "counterfactual":
        right = error_named and 0 not in labels
    else:
        right = 0 not in labels and not refused
    return _verdict(right, extracted, task=gold.task, labels=labels, error_named=error_named)


def _rgb_strict(row: Row) -> Verdict:
    """The same tasks read strictly (`short_answer`): the response is the answer, or the refusal,
    or for counterfactual passages the sentence that names the error and then the answer."""
    gold = _Gold(row["gold"])
    rejection = gold.task == "rejection"
    if not gold.readable or not (gold.answers or rejection):
        return _unreadable("the gold answer is empty")
    reading = _read(gold, row["response"], error_first=gold.task == "counterfactual")
    return _verdict(reading == ("refusal" if rejection else "answer"), reading, task=gold.task)


def _read(gold: _Gold, response: str | None, error_first: bool = False) -> str | None:
    """What a strict reader sees: "refusal", "answer" (the right one) or None."""
    tokens = short_answer.tokens_of(response)
    if error_first and tokens is not None:
        tokens = short_answer.after_error(tokens)
    if tokens is None:
        return None
    if short_answer.is_refusal(tokens, gold.refusal):
        return "refusal"
    right = short_answer.is_answer(tokens, gold.answers, gold.query, gold.wrong)
    return "answer" if right else None


CELL_METRICS = ("answer_recall", "refusal_rate")


def _cell_verdict(cell: str, extracted: str | None) -> Verdict:
    """details: `cell`, and what the item adds to the one rate of `CELL_METRICS` that it is in."""
    details: dict[str, Any] = {"cell": cell}
    if cell in ("TP", "FN"):
        details["answer_recall"] = float(cell == "TP")
    elif cell in ("TN", "FP"):
        details["refusal_rate"] = float(cell == "TN")
    return _verdict(cell in ("TP", "TN"), extracted, **details)


def _cell(answerable: bool, refused: bool, right: bool) -> str:
    if answerable:
        return "TP" if right and not refused else "FN"
    return "TN" if refused else "FP"


def _kbqa(row: Row) -> Verdict:
    """details: `cell`, one of TP (right answer), FN (answerable: refused or wrong), TN (refused),
    FP (not answerable, not refused). Refusals and answers are found as parts of the text."""
    gold = _Gold(row["gold"])
    if not gold.readable:
        return _unreadable("the gold answer is empty")
    text = (row["response"] or "").lower()
    if gold.chinese:
        text = text.replace(" ", "")
    phrases = (*_REFUSAL, gold.refusal.lower()) if gold.refusal else _REFUSAL
    refused = any(phrase in text for phrase in phrases)
    found = gold.found_in(text)
    cell = _cell(gold.answerable, refused, bool(text.strip()) and None not in found)
    extracted = "refusal" if refused else "; ".join(s for s in found if s) or None
    return _cell_verdict(cell, extracted)


def _kbqa_strict(row: Row) -> Verdict:
    """`kbqa` with the strict reading (`short_answer`): answers and refusals stand alone."""
    gold = _Gold(row["gold"])
    if not gold.readable or (gold.answerable and not gold.answers):
        return _unreadable("the gold answer is empty")
    reading = _read(gold, row["response"])
    cell = _cell(gold.answerable, reading == "refusal", reading == "answer")
    return _cell_verdict(cell, reading)


def _nomiracl(row: Row) -> Verdict:
    """As published: gold "relevant" or "non_relevant", or a mapping with `answerable`; the prompt
    asks for "Yes, answer is present" or "I don't know". details: `cell`, where "invalid" is neither
    (the original counts it apart). How often a phrase stands in the text is counted without overlap
    (ours: the original's helper was not seen)."""
    subsets = {"relevant": True, "non_relevant": False}
    gold = row["gold"]
    known = isinstance(gold, str) and gold in subsets
    relevant = subsets[gold] if known else _fields(gold).get("answerable")
    if not isinstance(relevant, bool):
        raise ValueError("gold: use relevant or non_relevant, or `answerable` as true or false")
    text = (row["response"] or "").replace("\n", " ").replace("\t", " ").lower()
    yes, no = text.count("yes, answer is present"), text.count("i don't know")
    answered = refused = False
    if yes and no:
        answered = yes > 1
    elif yes or no:
        answered, refused = bool(yes), bool(no)
    elif "answer is present" in text:
        answered = True
    elif "answer is not present" in text:
        refused = True
    else:  # a bare reference such as [3]
        answered = len(text) < 10 and re.search(r"\[\d+\]", text) is not None
    if not (answered or refused):
        return _cell_verdict("invalid", None)
    cell = _cell(relevant, refused, answered)
    return _cell_verdict(cell, "answer" if answered else "refusal")


def confusion_rates(cells: Iterable[str]) -> dict[str, float | int | None]:
    """Counts and rates of `kbqa` or `nomiracl` cells; a rate over no item is None.

    answer_recall = TP / (TP + FN); refusal_rate = TN / (TN + FP); precision = TP / (TP + FP); f1
    of precision and recall; accuracy over all. NoMIRACL (arXiv 2312.11361): error_rate =
    FN / answerable, hallucination_rate = FP / unanswerable; invalid items are counted beside.
    """
    count = Counter(cells)
    tp, fn, tn, fp = (count[cell] for cell in ("TP", "FN", "TN", "FP"))

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    return {
        **{"TP": tp, "FP": fp, "TN": tn, "FN": fn, "invalid": count["invalid"]},
        "answer_recall": share(tp, tp + fn),
        "refusal_rate": share(tn, tn + fp),
        "precision": share(tp, tp + fp),
        "f1": share(2 * tp, 2 * tp + fp + fn),
        "accuracy": share(tp + tn, tp + fn + tn + fp),
        "error_rate": share(fn, tp + fn),
        "hallucination_rate": share(fp, fp + tn),
    }


def rgb_rates(verdicts: Iterable[Verdict]) -> dict[str, float | int | None]:
    """RGB's numbers of `rgb` verdicts, per task that occurs; ungradable ones are only counted.

    `<task>`: `all_rate` of the original. rejection_refused: refusals alone (the original's rate
    also counts right answers). error_detection and error_correction (its `fact_check_rate` and
    `correct_rate`) are over counterfactual items and over those with the error named.
    """
    graded: dict[str, list[Verdict]] = {}
    ungradable = 0
    for verdict in verdicts:
        if verdict.outcome is Outcome.UNGRADABLE:
            ungradable += 1
        else:
            graded.setdefault(verdict.details["task"], []).append(verdict)

    def rate(hits: Iterable[bool]) -> float | None:
        found = list(hits)
        return sum(found) / len(found) if found else None

    def answered(verdict: Verdict) -> bool:
        return all(label == 1 for label in verdict.details["labels"])

    rates: dict[str, float | int | None] = {"ungradable": ungradable}
    for task, items in graded.items():
        if task == "rejection":
            rates["rejection_refused"] = rate(v.details["labels"] == [-1] for v in items)
            rates[task] = rate(0 not in v.details["labels"] for v in items)
        else:
            rates[task] = rate(answered(v) for v in items)
        if task == "counterfactual":
            named = [v for v in items if v.details["error_named"]]
            rates["error_detection"] = len(named) / len(items)
            rates["error_correction"] = rate(0 not in v.details["labels"] for v in named)
    return rates


GRADERS = (
    Grader(name="rgb", version="1", grade=_rgb),
    Grader(name="rgb_strict", version="2", grade=_rgb_strict),
    Grader(name="kbqa", version="1", grade=_kbqa, metrics=CELL_METRICS),
    Grader(name="kbqa_strict", version="2", grade=_kbqa_strict, metrics=CELL_METRICS),
    Grader(name="nomiracl", version="1", grade=_nomiracl, metrics=CELL_METRICS),
)
