"""Tagged parts of a response, each found in linear time."""

from __future__ import annotations

from functools import cache


@cache
def marks(tag: str) -> tuple[str, str]:
    """The opening and the closing tag."""
    return f"<{tag}>", f"</{tag}>"


def blocks(text: str, tag: str) -> list[str]:
    """What stands in every `<tag>...</tag>`, from left to right.

    The same as `re.findall("<tag>(.*?)</tag>", text, re.DOTALL)`, which takes quadratic time on
    a text of many opening tags: a block begins at an opening tag and ends at the next closing one,
    so an opening tag inside a block is part of it.
    """
    opening, closing = marks(tag)
    found = []
    start = text.find(opening)
    while start >= 0:
        start += len(opening)
        end = text.find(closing, start)
        if end < 0:
            break
        found.append(text[start:end])
        start = text.find(opening, end + len(closing))
    return found


def last_span(text: str, tag: str) -> tuple[int, int] | None:
    """Start and end of what stands in the last `<tag>...</tag>`; an opening tag inside a block
    begins a new one. None: no opening tag is closed."""
    opening, closing = marks(tag)
    last = text.rfind(closing)
    start = text.rfind(opening, 0, last) if last > 0 else -1
    if start < 0:
        return None
    start += len(opening)
    return start, text.index(closing, start)


def after_thought(text: str, tag: str) -> str:
    """What follows the thought `<tag>...</tag>`: the text behind the last closing tag, up to a
    thought that begins again and never ends. The opening tag may stand in the prompt."""
    opening, closing = marks(tag)
    if opening[1:] not in text:  # a quick look at both
        return text
    return text.rpartition(closing)[2].partition(opening)[0]
