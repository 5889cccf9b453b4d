"""Graders of Knights & Knaves: Logic-RL's training reward, its evaluation, and a strict reading.

`kk_published`: Unakar/Logic-RL @ 9d2c457, verl/utils/reward_score/kk.py: format (+1 or -1) plus
answer (+2 right, -1.5 another assignment, -2 none). `kk_eval`: eval_kk/compute_score.py of the same
commit, 1 or 0. `kk_strict` (ours), 1 or 0: a thought, then nothing but one assignment.

The original scores prompt and response together, from the header of the assistant's turn on. So
`kk_published` is for responses that open their thought themselves, and `kk_published_opened` for
prompts that end in `<think>`, as both of Logic-RL's do; the other two take both kinds.

`gold` is role by name, `{"Zoey": "knave", "Oliver": "knight"}`, or the data set's
`solution_text_format`, `(1) Zoey is a knave` and so on, a line for each person. `details` are
numbers of this one response: `format_ok` (the tags are right), `answer_read` (everybody has a role)
and `answer_ok` (and the right one).

All are linear in the response: tags are found by substring search, and no regular expression has
a repetition that can begin at a place where the same repetition went by before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property, lru_cache, partial
from typing import Any

from common.rewards.verdict import Grader, Outcome, Row, Verdict

HEADER = "<|im_start|>assistant"
ROLES = ("knight", "knave")
_ROLES = frozenset(ROLES)
_BASE_HEADER = "Assistant:"
_THINK, _END_THINK, _ANSWER, _END_ANSWER = "<think>", "</think>", "<answer>", "</answer>"

_GOLD_LINE = re.compile(r"\b([A-Za-z]+)\b.*?\b(knight|knave)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"(?<!\w)(\w+)\s+is\s+a\s+(knight|knave)\b")
_WORD = re.compile(r"\w+")
_ROLE = re.compile(r"\b(knight|knave)\b", re.IGNORECASE)

# kk_strict, on an answer in lower case with single spaces: one person's role, and what may stand
# before, between and after them (| for each).
_ITEM = re.compile(r"(\w+)(?: is | ?[:：=–—→-] ?)(?:a |the )?(knight|knave)\b")
_AROUND = re.compile(r"(?:[ ,.;，。；、]*(?:and )?(?:\(?\d{1,2}[.):] ?|[-•] )?\|)+[ ,.;，。；、]*")
_LONGEST_ITEM = 80  # characters of an answer for each person
_END_OF_TURN = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "</s>", "<eos>", "<end_of_turn>")
_LONGEST_END = 100
_TURN = re.compile(r"<think>|<\|im_")
# A thought of kk_strict reasons: beyond names, roles and the frame of an answer it has this many
# different words, some of which infer.
_LEAST_WORDS = 8
_THOUGHT_PARTS = (400, 20_000)  # characters in which they are looked for
_FRAME = frozenset(
    {"a", "an", "the", "is", "are", "be", "and", "so", "it", "that", "this", "my", "here"}
    | {"who", "we", "have", "get", "will", "answer", "final", "solution", "result", "therefore"}
    | {"thus", "hence", "knight", "knave", "knights", "knaves"}
)
_INFERRING = frozenset(
    {"if", "suppose", "assume", "assuming", "since", "because", "when", "then", "would", "must"}
    | {"cannot", "says", "said", "say", "saying", "claims", "claim", "claimed", "states"}
    | {"stated", "statement", "told", "tells", "lies", "lie", "lying", "lied", "liar", "truth"}
    | {"true", "false", "contradiction", "contradicts", "means", "implies", "either"}
    | {"otherwise", "consistent"}
    | set("若如假设因说谎真话矛盾则")
)
_THOUGHT_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\d_\u3400-\u9fff]+")


class _Gold:
    """Who is what. `roles`: by name as written, `lower`: by name in lower case."""

    def __init__(self, roles: tuple[tuple[str, str], ...]) -> None:
        self.roles = dict(roles)
        self.lower = {name.lower(): role for name, role in roles}
        # in ASCII text, such names can be found without a regular expression for each
        self.plain = all(
            name.isascii()
            and name.isalpha()
            and name not in ("is", "a")
            and not any(role in name for role in ROLES)
            for name in self.lower
        )
        self.words = all(_WORD.fullmatch(name) for name in self.roles)
        self.numbers = [f"({i + 1})" for i in range(len(self.roles))]

    @cached_property
    def clauses(self) -> dict[str, re.Pattern[str]]:
        """By name what the training reward looks for, letter by letter as in the original."""
        return {
            name: re.compile(rf"\b{re.escape(name)}\b\s+is\s+a\s+\b(knight|knave)\b", re.IGNORECASE)
            for name in self.roles
        }

    @cached_property
    def mentions(self) -> dict[str, re.Pattern[str]]:
        """By name the first half of what the evaluation looks for."""
        return {name: re.compile(rf"\b{re.escape(name)}\b", re.IGNORECASE) for name in self.roles}


@lru_cache(maxsize=1 << 16)
def _from_roles(roles: tuple[tuple[str, str], ...]) -> _Gold | None:
    pairs = tuple((name.strip(), role.strip().lower()) for name, role in roles)
    if not pairs or any(not name or role not in ROLES for name, role in pairs):
        return None
    gold = _Gold(pairs)
    return gold if len(gold.lower) == len(pairs) else None  # nobody is there twice


@lru_cache(maxsize=1 << 16)
def _from_text(text: str) -> _Gold | None:
    text = text.strip()
    if text[:1] in ("{", '"'):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return _read_gold(value) if isinstance(value, dict | str) and value != text else None
    lines = [_GOLD_LINE.search(line) for line in text.split("\n") if line.strip()]
    roles = tuple((match[1], match[2]) for match in lines if match)
    return _from_roles(roles) if len(roles) == len(lines) else None


def _read_gold(gold: Any) -> _Gold | None:
    """The gold answer, or None where it cannot be read; ValueError for a wrong type."""
    if isinstance(gold, str):
        return _from_text(gold)
    if isinstance(gold, (dict, Mapping)):  # the second alone is slow for the first
        try:
            return _from_roles(tuple(gold.items()))
        except (TypeError, AttributeError):
            raise ValueError("gold: give role by name, as in {'Zoey': 'knight'}") from None
    raise ValueError(f"gold: a mapping of roles by name or a text, not {type(gold).__name__}")


def _parts(response: str) -> tuple[str, str, str, str] | None:
    """What stands before `</think>`, `<answer>`, `</answer>` and after them, where each of these
    is there once and they are in this order."""
    thought, found, rest = response.partition(_END_THINK)
    if not found or _END_THINK in rest:
        return None
    if "answer>" in thought and (_ANSWER in thought or _END_ANSWER in thought):
        return None
    between, found, rest = rest.partition(_ANSWER)
    answer, ended, after = rest.partition(_END_ANSWER)
    if not (found and ended) or _END_ANSWER in between or _ANSWER in rest or _END_ANSWER in after:
        return None
    return thought, between, answer.strip(), after


def _listed(answer: str, gold: _Gold) -> dict[str, str] | None:
    """Role by name in lower case from the layout that the prompt asks for, `(1) zoey is a knight`
    and so on in lines: what all three readings find there, found faster. None: another layout."""
    words, people = answer.split(), len(gold.numbers)
    if len(words) != 5 * people or words[::5] != gold.numbers:
        return None
    if words[2::5].count("is") != people or words[3::5].count("a") != people:
        return None
    if answer.count("\n") != answer.count("\n(") or not _ROLES.issuperset(words[4::5]):
        return None
    found = dict(zip(words[1::5], words[4::5], strict=True))
    return found if found.keys() == gold.lower.keys() else None


def _training_roles(answer: str, gold: _Gold) -> dict[str, str] | None:
    """Role by name in lower case as the training reward reads it, or None."""
    lower, plain = answer.lower(), gold.plain and answer.isascii()
    listed = _listed(lower, gold) if plain else None
    if listed:
        return listed
    if lower.count("knight") + lower.count("knave") != len(gold.roles):
        return None
    roles = {}
    if plain:
        found = dict(reversed(_CLAUSE.findall(lower)))  # the first clause about somebody counts
        roles = {name: found[name] for name in gold.lower if name in found}
    else:
        for name, clause in gold.clauses.items():
            match = clause.search(answer)
            if match:
                roles[name.lower()] = match[1].lower()
    return roles if len(roles) == len(gold.roles) else None


def training_score(text: str, gold: Any) -> tuple[float, float]:
    """Format and answer score of a whole text (prompt, or its header, and response).

    The response begins after the first `Assistant:`, or else the first `<|im_start|>assistant`;
    without either there is no answer, but a format.
    Raises ValueError for a gold that is none.
    """
    read = _read_gold(gold)
    if not read:
        raise ValueError("gold: cannot be read as roles by name")
    _, found, response = text.partition(_BASE_HEADER)
    if not found:
        _, found, response = text.partition(HEADER)
    form, score, _ = _score(response if found else text, read)
    return form, score if found else -2.0


def _score(response: str, gold: _Gold) -> tuple[float, float, str | None]:
    """Format score, answer score, and the answer's text."""
    parts = _parts(response)
    if not parts:
        return -1.0, -2.0, None
    thought, between, answer, after = parts
    if thought.count(_THINK) != 1 or _THINK in between or _THINK in answer or _THINK in after:
        return -1.0, -2.0, None
    roles = _training_roles(answer, gold) if answer else None
    if roles is None:
        return 1.0, -2.0, answer
    return 1.0, 2.0 if roles == gold.lower else -1.5, answer


def _published(row: Row, opening: str = "") -> Verdict:
    gold = _read_gold(row["gold"])
    response = row["response"]
    if gold is None:
        return Verdict(Outcome.UNGRADABLE, -3.0)
    if response is None:
        return _verdict(-3.0, None, False, False, False)
    # as if `<|im_start|>assistant` stood before it: only `Assistant:` can cut the text further on
    _, cut, rest = response.partition(_BASE_HEADER)
    form, score, answer = _score(rest if cut else opening + response, gold)
    return _verdict(form + score, answer, form > 0, score > -2.0, score > 0)


def _mention(text: str, name: str, start: int) -> int:
    """Where the ASCII word `name` ends for the first time after `start` of `text`, or -1."""
    while (start := text.find(name, start)) >= 0:
        end = start + len(name)
        before, after = text[start - 1 : start], text[end : end + 1]
        if not (before.isalnum() or before == "_" or after.isalnum() or after == "_"):
            return end
        start = end
    return -1


def _evaluation_roles(answer: str, gold: _Gold) -> dict[str, str] | None:
    """The first role after each name on a line, lines from the top; None: somebody has none.

    A later mention on a line sees no role that the first one does not: each line is read once.
    """
    plain = gold.plain and answer.isascii()
    text = answer.lower() if plain else answer
    listed = _listed(text, gold) if plain else None
    if listed:
        return listed
    roles = {}
    for name in gold.lower if plain else gold.roles:
        end = 0
        while True:
            if plain:
                start = _mention(text, name, end)
            else:
                match = gold.mentions[name].search(text, end)
                start = match.end() if match else -1
            if start < 0:
                return None
            end = text.find("\n", start)
            role = _ROLE.search(text, start, len(text) if end < 0 else end)
            if role:
                roles[name.lower()] = role[1].lower()
                break
            if end < 0:
                return None
    return roles


def _evaluation(row: Row) -> Verdict:
    gold = _read_gold(row["gold"])
    response = row["response"]
    if gold is None:
        return Verdict(Outcome.UNGRADABLE, 0.0)
    parts = _parts(response) if response is not None else None
    answer = parts[2] if parts else None
    roles = _evaluation_roles(answer, gold) if answer else None
    right = roles == gold.lower
    return _verdict(float(right), answer, answer is not None, roles is not None, right)


def _strict_roles(answer: str, gold: _Gold) -> dict[str, str] | None:
    """Role by name in lower case where the answer is a plain list of them, each name once."""
    if len(answer) > _LONGEST_ITEM * len(gold.roles):
        return None
    lower = answer.lower()
    listed = _listed(lower, gold) if gold.plain and lower.isascii() else None
    if listed:
        return listed
    pieces = _ITEM.split(" ".join(lower.replace("*", "").split()))  # without bold
    names = pieces[1::3]
    if len(names) != len(gold.roles) or not _AROUND.fullmatch("|".join(pieces[::3])):
        return None
    roles = dict(zip(names, pieces[2::3], strict=True))
    return roles if len(roles) == len(names) else None


def _strict_answer(response: str, gold: _Gold) -> str | None:
    """The answer of a response that is a thought and an answer, then the end of the turn."""
    parts = _parts(response)
    if not parts:
        return None
    thought, between, answer, after = parts
    thought = thought.lstrip().removeprefix(_THINK)
    if between.strip() or _THINK in answer or ("<" in thought and _TURN.search(thought)):
        return None
    if after:
        if len(after) > _LONGEST_END:
            return None
        for marker in _END_OF_TURN:
            after = after.replace(marker, "")
        if after.strip():
            return None
    return answer if _reasons(thought, gold) else None


def _reasons(thought: str, gold: _Gold) -> bool:
    """Whether a thought speaks of somebody in the puzzle and does more than quote an answer."""
    if not any(name in thought for name in gold.roles):
        return False
    for size in _THOUGHT_PARTS:
        words = set(_THOUGHT_WORD.findall(thought[:size].lower())) - _FRAME - gold.lower.keys()
        if len(words) >= _LEAST_WORDS and words & _INFERRING:
            return True
    return False


def _strict(row: Row) -> Verdict:
    gold = _read_gold(row["gold"])
    response = row["response"]
    if gold is None or not gold.words:  # only names of one word can be read
        return Verdict(Outcome.UNGRADABLE, 0.0)
    answer = _strict_answer(response, gold) if response is not None else None
    roles = _strict_roles(answer, gold) if answer else None
    read = roles is not None and roles.keys() == gold.lower.keys()
    right = roles == gold.lower
    return _verdict(float(right), answer, answer is not None, read, right)


def _verdict(score: float, answer: str | None, form: bool, read: bool, right: bool) -> Verdict:
    details = {
        "format_ok": 1.0 if form else 0.0,  # float() would be slower
        "answer_read": 1.0 if read else 0.0,
        "answer_ok": 1.0 if right else 0.0,
    }
    return Verdict(Outcome.CORRECT if right else Outcome.WRONG, score, answer, details)


_METRICS = ("format_ok", "answer_read", "answer_ok")
GRADERS = (
    Grader("kk_published", "1", _published, metrics=_METRICS),
    Grader("kk_published_opened", "1", partial(_published, opening=_THINK), metrics=_METRICS),
    Grader("kk_eval", "1", _evaluation, metrics=_METRICS),
    Grader("kk_strict", "2", _strict, metrics=_METRICS),
)
