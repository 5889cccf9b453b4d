"""The answer in a response: its last box; without any box, what it states as its answer at the end.

Every search is a `find`, an `rfind` or a regex without nested quantifiers over a bounded tail.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from common.rewards.denial import denied
from common.rewards.mathematics.syntax import LONGEST as PARSED
from common.rewards.mathematics.syntax import parse

LONGEST = 2000  # characters of a box, and of the end of a response that is searched without a box
_STOPS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<｜end▁of▁sentence｜>", "<|im_start|>user")
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
_BOXES = ("\\boxed", "\\fbox")
_PHRASE = re.compile(
    r"\banswer(?:\s+to\s+(?:the|this)\s+(?:problem|question))?(?:\s+is|\s*:)",
    re.IGNORECASE,
)
_LAST_WORD = re.compile(
    r"(?:####|(?:(?:so|thus|hence|therefore),? )?(?:the )?(?:final |correct )?answer(?: is:?|:))"
    r" ?(\S[^.!?]{0,60})\.?",
    re.IGNORECASE,
)
_SPAN = re.compile(
    r"\$\$([^$]+)\$\$|\$((?:[^$\\]|\\.)+)\$"
    r"|\\\(((?:[^\\]|\\[^()])*)\\\)|\\\[((?:[^\\]|\\[^\[\]])*)\\\]"
)
_NUMBER = re.compile(
    r"(?<![\w.,/^_\\{])[-−]?\$?"
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:/\d+)?%?(?![\d/]|[.,]\d)"
)
_DENIAL = (
    r"\b(?:not|never|neither|nor|cannot|wrong|incorrect|false|except|unless|impossible|doubt"
    r"|mistaken|unsure|unclear|rejected|maybe|perhaps|possibly|guess)\b|n['’]t\b"
)
DENIAL = re.compile(_DENIAL, re.IGNORECASE)
NEGATION = re.compile(_DENIAL + r"|\bno\b|\bwithout\b", re.IGNORECASE)
_LISTED = re.compile(r"[\s,;]*(?:(?:or|and)\b[\s,;]*)?", re.IGNORECASE)  # between two answers
_GLUED = re.compile(r"[^\W\d_]|[\^_{]")  # behind a number that is part of something else
_SENTENCE_WORDS = 4  # from here on a stated answer is a sentence that holds the answer
_FINISHED = re.compile(r"[.!)*%°\d]$|^\d+(?:\.\d+)?(?:\s+[^\W\d]+){1,2}$")
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z]|\s*$)")


def after_thought(response: str, prompt: object = None) -> str:
    """What stands behind the thought, up to the first stop token; nothing if it never ends."""
    prefix = isinstance(prompt, str) and prompt
    if prefix:
        response = response.removeprefix(prefix)
    for stop in _STOPS:
        at = response.find(stop)
        if at >= 0:
            response = response[:at]
    at = response.rfind("</think>")
    if at >= 0:
        return response[at + len("</think>") :]
    opened = "<think>" in response or (prefix and prefix.rstrip().endswith("<think>"))
    return "" if opened else response


def last_box(text: str) -> tuple[int, int] | None:
    """Where the last box begins and ends; the two are equal if it never closes. None: no box."""
    at = max(text.rfind(box) for box in _BOXES)
    if at < 0:
        return None
    start = text.find("{", at, at + 10)
    if start < 0 or text[at:start].strip() not in _BOXES:
        return at, at
    end = closing_brace(text, start)
    return at, at if end is None else end + 1


def held(text: str, box: tuple[int, int]) -> str:
    """What a box holds; nothing if it never closes."""
    return text[text.find("{", box[0]) + 1 : box[1] - 1].strip() if box[1] > box[0] else ""


def closing_brace(text: str, start: int) -> int | None:
    """Where the brace at `start` closes, within LONGEST characters; an escaped one is no brace."""
    depth = 0
    for match in _BRACES.finditer(text, start, start + LONGEST):
        if match.group() == "{":
            depth += 1
        elif match.group() == "}":
            depth -= 1
            if not depth:
                return match.start()
    return None


def answer(response: str, prompt: object = None) -> tuple[str | None, str]:
    """The answer and how it was found: "box", "stated", "last" or "none".

    A box decides alone: an empty, unclosed, overlong or denied last box is no answer. Neighbouring
    boxes (`\\boxed{1}, \\boxed{2}`) are one list, found as "boxes".
    """
    text = after_thought(response, prompt)
    box = last_box(text)
    if box:
        content = held(text, box)
        if not content or denied(text, *box):
            return None, "none"
        items = neighbours(text, box)
        return (content, "box") if len(items) < 2 else (", ".join(items), "boxes")
    if isinstance(prompt, str) and text.strip() and text.strip() in prompt:
        return None, "none"
    found = stated(text)
    if found is not None:
        return (found or None), "stated" if found else "none"
    found = at_the_end(text)
    return found, "none" if found is None else "last"


def after_box(response: str, prompt: object = None) -> str | None:
    """The answer that the last line states behind the last box, if it is a line of its own."""
    text = after_thought(response, prompt)
    box = last_box(text)
    line = text[box[1] :][-LONGEST:].rstrip().rpartition("\n") if box else ("", "", "")
    found = _LAST_WORD.fullmatch(line[2].replace("*", "").strip()) if line[1] else None
    return found[1] if found else None


def boxes(response: str, prompt: object = None) -> list[str]:
    """The items of an answer that was found as "boxes"."""
    text = after_thought(response, prompt)
    box = last_box(text)
    return neighbours(text, box) if box else []


def neighbours(text: str, box: tuple[int, int]) -> list[str]:
    """What the box and those just before it hold (`\\boxed{1}, \\boxed{2} and \\boxed{3}`); one
    text where all hold the same."""
    content = held(text, box)
    items = _boxes(text[: box[1]], _listing)
    return items if any(item != content for item in items) else [content]


def stated(text: str) -> str | None:
    """The answer behind `####`, in `<answer>` tags or "the answer is"; "" if it is denied."""
    tail = text[-LONGEST:]
    at = tail.rfind("####")
    if at >= 0:
        found = tail[at + 4 :].strip().partition("\n")[0].strip()
        return "" if denied(tail, at, tail.find(found, at) + len(found)) else found
    close = tail.rfind("</answer>")
    if close >= 0:
        at = tail.rfind("<answer>", 0, close)
        if at < 0 or denied(tail, at, close + len("</answer>")):
            return ""
        return tail[at + len("<answer>") : close].strip()
    last = None
    for last in _PHRASE.finditer(tail):  # noqa: B007 - the last one counts
        pass
    if last is None:
        return None
    # the sentence around it, and what follows: "the answer is not 5", "5 is not the answer: 6 is"
    before = re.split(r"[.\n]", tail[: last.start()][-200:])[-1]
    after = tail[last.end() :]
    if NEGATION.search(before) or DENIAL.search(after):
        return ""
    rest = after.strip(" :*\n").partition("\n")[0].split("I hope it")[0].strip(" *:")
    span = _SPAN.match(rest)
    if span is not None and not _SPAN.search(rest, span.end()):
        return inside(span)
    end = _SENTENCE_END.search(rest)
    sentence = rest[: end.end()] if end else rest
    rest = sentence.rstrip(".!?" if end else "").strip(" *")
    return rest if len(rest.split()) < _SENTENCE_WORDS else at_the_end(sentence) or rest


def inside(span: re.Match[str]) -> str:
    """The formula of a match of `$...$`, `\\(...\\)` or `\\[...\\]`."""
    return next(filter(None, span.groups()), "").strip()


def at_the_end(text: str) -> str | None:
    """The last formula or number of the last sentence, unless it denies or asks something."""
    line = text[-LONGEST:].rstrip().rpartition("\n")[2].strip()
    if not line or line.endswith("?") or NEGATION.search(line):
        return None
    spans = list(_SPAN.finditer(line))
    numbers = [found for found in _NUMBER.finditer(line) if not _GLUED.match(line, found.end())]
    if spans and (not numbers or numbers[-1].start() < spans[-1].end()):
        return inside(spans[-1]) or None
    if not numbers or "\\" in line or not _FINISHED.search(line):
        return None  # in the middle of a formula or of a sentence
    if len(numbers) > 1 and _LISTED.fullmatch(line[numbers[-2].end() : numbers[-1].start()]):
        return None  # several answers are none
    return numbers[-1].group().replace("−", "-")


# --- pairs of answers ---------------------------------------------------------------------------

_TYPESETTING = re.compile(r"\\(?:quad|qquad|text|[()\[\],;!])|[{}$\s]")
_LISTING = re.compile(r"(?:[,;/&]|and|or)*", re.IGNORECASE)
_LONGEST_CONNECTOR = 14  # characters between boxes or formulas of one list, without typesetting


def pair_member(text: str) -> str:
    """The answer in one side of a pair: neighbouring boxes, all of it, or what it states."""
    items = _boxes(text, _connects)
    if items:
        return ", ".join(items)
    line = text[-LONGEST:].strip()
    whole = parse(line) if len(line) <= PARSED else None
    if whole and whole.readings and whole.words is None:
        return line
    found = stated(after_thought(text))
    if found:
        return found
    spans = list(_SPAN.finditer(line))
    if spans:
        first = len(spans) - 1
        while first and _connects(line[spans[first - 1].end() : spans[first].start()]):
            first -= 1
        return ", ".join(inside(span) for span in spans[first:])
    if len(line.split()) > 3:
        numbers = list(_NUMBER.finditer(line))
        if numbers:
            return numbers[-1].group()
    return line


def _boxes(text: str, together: Callable[[str], bool]) -> list[str]:
    """What the last boxes hold, as far back as what stands between two makes them one list."""
    found: list[str] = []
    begin = len(text)
    while len(found) < 20:
        at = text.rfind("\\boxed{", 0, begin)
        if at < 0:
            break
        end = closing_brace(text, at + len("\\boxed"))
        if end is None or (found and not together(text[end + 1 : begin])):
            break
        found.insert(0, text[at + len("\\boxed{") : end].strip())
        begin = at
    return found


def _listing(between: str) -> bool:
    """Whether nothing but commas, `and` or `or` stands between two boxes."""
    if len(between) > 4 * _LONGEST_CONNECTOR:
        return False
    return _LISTING.fullmatch(_TYPESETTING.sub("", between)) is not None


def _connects(between: str) -> bool:
    """Whether something like a list stands between two boxes or formulas of a pair's member."""
    if len(between) > 4 * _LONGEST_CONNECTOR:
        return False
    bare = _TYPESETTING.sub("", between)
    connected = not bare or "," in bare or "and" in bare or "or" in bare
    return connected and len(bare) <= _LONGEST_CONNECTOR
