"""A strict reading of short answers: the answer and nothing that is not the answer.

Every word outside the answer must be a function word, or belong to a piece of the question that
stands as it stands there: "the Super Bowl in 2021 was hosted in" beside Tampa, but not France
beside Italy because the question says "other than France". So a list of candidates, a copied
passage, a negation, a hedge, or a refusal beside an answer is no answer; neither is a right answer
in a long explanation: ask for short answers in the prompt. (ours)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

LONGEST = 600  # characters of a final answer that is still read; longer is no short answer

# Numbers with sign, thousands and decimals; runs of letters; any other sign. Each Chinese character
# is a word.
_TOKEN = re.compile(
    r"(?:(?<![A-Za-z0-9])-)?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    r"|[\u3400-\u9fff]|[^\W\d_\u3400-\u9fff]+|\S"
)
_IGNORED = frozenset(".,;:!?\"'()[]*_`。、；：！？“”‘’（）《》「」【】·・-–—…")
_GAP = " "  # in the place of a word of the answer; no word is a space
_BREAK = "\n"  # between clauses of a question
_BREAKS = frozenset(",;:()、")
_LABELS = (("answer",), ("final", "answer"), tuple("答案"), tuple("最终答案"))

_FUNCTION = frozenset(
    {"a", "an", "the", "is", "was", "are", "were", "be", "been", "it", "its", "this", "that"}
    | {"he", "she", "his", "her", "they", "their", "in", "on", "at", "of", "to", "for", "by"}
    | {"from", "as", "with", "and", "answer", "final", "question", "correct", "based", "according"}
    | {"document", "documents", "provided", "given", "passage", "passages", "name", "called"}
    | set("是为的了在于和与及个名位家人次元年月日")
)
_JOINING = frozenset({"and", *"和与及"})  # between two answers, or as in the question
_ARTICLES = frozenset({"a", "an", "the"})
_COPULAS = frozenset({"is", "was", "are", "were", "be", "been"})
_AUXILIARIES = _COPULAS | {"did", "does", "do", "has", "have", "had", "can", "will"}
_PREPOSITIONS = frozenset({"in", "on", "at", "of", "to", "for", "by", "from"})
_ASKING = frozenset({"who", "whom", "where", "when", "why", "how", "what", "which", "whose"})
_ASKING_ABOUT = frozenset({"what", "which", "whose", "how"})  # and the next word: which city
_ASKING_ZH = frozenset("谁哪什何几多")
_ASKING_ZH_REST = frozenset("么个里儿位些少一支种时地天")
# Chinese words of several characters, beside those of the question.
_PHRASES = tuple(map(tuple, ("答案", "最终答案", "正确答案", "根据提供的文档", "文档中", "问题")))
# Never allowed outside the answer, not even where the question has them.
_TURNS = frozenset(
    {"not", "no", "never", "none", "nor", "neither", "or", "either", "cannot", "without", "but"}
    | {"except", "unless", "t", "isn", "wasn", "aren", "weren", "don", "doesn", "didn"}
    | set("不非没无未否或勿莫假错")
)

_REFUSALS = (
    "I can not answer the question because of the insufficient information in documents.",
    "I cannot answer the question because of the insufficient information in documents.",
    "I can not answer the question because of the insufficient information in the documents.",
    "I cannot answer the question because of the insufficient information in the documents.",
    "Insufficient information",
    "I don't know",
    "I do not know",
    "Unanswerable",
    "文档信息不足，因此我无法基于提供的文档回答该问题。",
    "信息不足",
    "我不知道",
    "无法回答",
)
_ERRORS = (  # RGB's prompts ask for these sentences
    "There are factual errors in the provided documents.",
    "提供文档的文档存在事实性错误。",
    "提供的文档存在事实性错误。",
)


def _signs(text: str) -> Iterable[str]:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-")
    return (match.group() for match in _TOKEN.finditer(folded))


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(sign.replace(",", "") for sign in _signs(text) if sign not in _IGNORED)


def tokens_of(response: str | None) -> tuple[str, ...] | None:
    """The words of the final answer: after `</think>` and a label such as "Answer:".

    None where there is none: nothing, a thought that is not closed, too many characters.
    """
    final = (response or "").rpartition("</think>")[2]
    if "<think>" in final or len(final := final.strip()) > LONGEST:
        return None
    words = _tokens(final)
    for label in _LABELS:
        if words[: len(label)] == label:
            words = words[len(label) :]
            break
    return words or None


_REFUSAL_TOKENS = frozenset(_tokens(text) for text in _REFUSALS)
_ERROR_TOKENS = tuple(_tokens(text) for text in _ERRORS)


def is_refusal(tokens: tuple[str, ...], asked_for: str = "") -> bool:
    """Whether the words are one of the usual refusals, or the one that the prompt asked for."""
    return tokens in _REFUSAL_TOKENS or (bool(asked_for) and tokens == _tokens(asked_for))


def after_error(tokens: tuple[str, ...]) -> tuple[str, ...] | None:
    """The words after the sentence that names factual errors, with which they must begin."""
    for sentence in _ERROR_TOKENS:
        if tokens[: len(sentence)] == sentence:
            return tokens[len(sentence) :] or None
    return None


def is_answer(
    tokens: tuple[str, ...],
    answers: Sequence[Sequence[str]],
    query: str = "",
    wrong: Sequence[str] = (),
) -> bool:
    """Whether the words are the wanted answers (one spelling of each), in any order.

    Between them stand function words and pieces of `query` alone; the latter only where the query
    does not name an answer itself (then choosing is the task). `wrong` may not occur.
    """
    question = _question(query)
    asked = _tokens(query)
    covered = [False] * len(tokens)
    for spellings in answers:
        found = False
        for spelling in map(_tokens, spellings):
            if _places(spelling, asked):
                question = _question("")
            places = _places(spelling, tokens)
            found = found or bool(places)
            if len(places) > 2:  # said over and over
                return False
            for start in places:
                covered[start : start + len(spelling)] = [True] * len(spelling)
        if not found:
            return False
    if any(_places(_tokens(text), tokens) for text in wrong):
        return False
    rest = [_GAP if hit else word for word, hit in zip(tokens, covered, strict=True)]
    return not _TURNS.intersection(rest) and _harmless(rest, question)


@dataclass(frozen=True)
class _Question:
    """`pairs`: words side by side in the question, with the answer's place for what is asked, and
    as in a statement ("was he" as "he was", "which city" as "the city"). `small`: its words that
    are no names."""

    pairs: frozenset[tuple[str, str]]
    small: frozenset[str]


@lru_cache(maxsize=1024)
def _question(query: str) -> _Question:
    signs = [_BREAK if s in _BREAKS else s.replace(",", "") for s in _signs(query)]
    words = [word for word in signs if word not in _IGNORED]
    pairs, stated = set(zip(words, words[1:], strict=False)), []
    at = 0
    while at < len(words):
        word, at = words[at], at + 1
        if word in _ASKING_ABOUT and at < len(words) and _is_content(words[at]):
            pairs |= {("the", words[at]), (words[at], _GAP)} if word != "how" else set()
            at += 1
        elif word in _ASKING_ZH:
            while at < len(words) and words[at] in _ASKING_ZH_REST:
                at += 1
        elif word not in _ASKING:
            stated.append(word)
            continue
        stated.append(_GAP)
    pairs |= set(zip(stated, stated[1:], strict=False))
    pairs |= {(after, word) for word, after in pairs if word in _AUXILIARIES}
    small = frozenset(word for word in re.findall(r"[^\W\d_]+", query) if word.islower())
    return _Question(frozenset(pair for pair in pairs if _BREAK not in pair), small)


def _is_content(word: str) -> bool:
    return word not in _FUNCTION and word not in _AUXILIARIES and word not in (_BREAK, _GAP)


def _harmless(rest: list[str], question: _Question) -> bool:
    """Whether function words and pieces of the question make up the rest."""
    words = list(rest)
    for phrase in _PHRASES:
        for start in _places(phrase, tuple(words)):
            words[start : start + len(phrase)] = ["的"] * len(phrase)
    padded = ["", *words, ""]
    at = 1
    while at <= len(words):
        begin = at
        while _is_foreign(padded[at]):
            at += 1
        if at > begin and not _is_piece(padded, begin, at, question):
            return False
        if padded[at] in _JOINING and not _joins(padded, at, question):
            return False
        at += 1
    return True


def _is_foreign(word: str) -> bool:
    """Neither the answer's, nor a function word, nor the end."""
    return word not in ("", _GAP) and word not in _FUNCTION


def _is_piece(padded: list[str], begin: int, end: int, question: _Question) -> bool:
    """Whether a run of words is in the question as it is, and in its place: beside a word (or the
    answer) that is its neighbour there too, or as a participle ("was hosted in")."""
    run, before, after = padded[begin:end], padded[begin - 1], padded[end]
    pairs = question.pairs
    if any(pair not in pairs for pair in zip(run, run[1:], strict=False)):
        return False
    left, right = (before, run[0]) in pairs, (run[-1], after) in pairs
    if (before == _GAP and not left) or (after == _GAP and not right):
        return False
    if before in _ARTICLES:  # anything has one: "the dog, the cat"
        left = left and padded[begin - 2] != _GAP and after not in _ARTICLES
    participle = before in _COPULAS and after in _PREPOSITIONS and question.small.issuperset(run)
    return left or right or participle


def _joins(padded: list[str], at: int, question: _Question) -> bool:
    before, after = at - 1, at + 1
    if {(padded[before], padded[at]), (padded[at], padded[after])} <= question.pairs:
        return True
    while padded[before] in _ARTICLES:
        before -= 1
    while padded[after] in _ARTICLES:
        after += 1
    return padded[before] == padded[after] == _GAP


def _places(part: tuple[str, ...], whole: tuple[str, ...]) -> list[int]:
    size = len(part)
    return [i for i in range(len(whole) - size + 1) if size and whole[i : i + size] == part]
