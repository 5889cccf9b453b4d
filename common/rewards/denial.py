"""Does the text around an answer take it back? `It is not \\boxed{5}`, `\\boxed{5}? No.` (ours)

A denial counts where it governs the answer. Before it: nothing but words such as "is", "that" or
"the answer" stands between the denying word and the answer. After it: at once a predicate ("is
not", "is wrong") or a question mark, or a next sentence that calls it wrong. Any other negation is
left alone, since worked solutions are full of them: "x cannot be 0, so it is 5", "the days without
rain are 5", "5, since no other root is positive".

Every expression sees a text of at most BEFORE or AFTER characters, in lower case, and only where it
has one of the words of denials at all.
"""

from __future__ import annotations

import re

BEFORE, AFTER = 200, 200  # characters of text that are looked at
_RAW = (260, 1000)  # and in which they are found: blanks and typesetting do not count


def _words(text: str) -> str:
    return "|".join(text.split())


def _pattern(*parts: str) -> re.Pattern[str]:
    return re.compile("".join(parts))


_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_FACES = re.compile(r"\\(?:text[a-z]*|math(?:rm|bf|it|sf)|emph|mbox|bf|it)(?![a-z])\s*|\\[,;:! ]")
_WORD = re.compile(r"[a-z]+")


def _plain(text: str) -> str:
    if not text.isascii():
        text = _INVISIBLE.sub("", text).replace("\u00a0", " ").replace("’", "'")
    text = text.lower()
    if "\\" in text:
        text = _FACES.sub(" ", text)
    text = text.replace("{", "").replace("}", "").replace("\t", " ")
    while "  " in text:
        text = text.replace("  ", " ")
    return text


# Without one of these words or signs nothing is denied: most texts need no expression at all.
_HINTS_BEFORE = frozenset(
    {"not", "never", "cannot", "neither", "nor", "hardly", "isnt", "wasnt", "arent", "dont"}
    | {"doesnt", "cant", "wont", "t", "maybe", "perhaps", "possibly", "probably", "presumably"}
    | {"doubt", "doubtful", "unlikely", "unsure", "impossible", "deny", "refuse", "nobody", "no"}
    | {"far", "rather", "instead", "anything", "guess", "guessing", "wrong", "false", "incorrect"}
    | {"untrue", "mistaken", "bad", "might", "may", "could", "ne", "neq"}
)
_HINTS_AFTER = frozenset(
    {"not", "t", "cannot", "never", "no", "nope", "nah", "wrong", "false", "incorrect", "untrue"}
    | {"mistaken", "invalid", "rejected", "nonsense", "unlikely", "lie", "lied", "lying"}
    | {"mistake", "error", "joke", "guess", "inaccurate", "ruled", "anything", "example"}
    | {"placeholder", "fails", "kidding", "joking", "scratch", "mind", "nevermind", "maybe"}
    | {"perhaps", "possibly", "probably", "take", "ignore", "disregard"}
    | {"cant", "wont", "isnt", "wasnt", "arent", "doesnt", "couldnt"}
)

# --- before the answer --------------------------------------------------------------------------

_DENYING = _pattern(
    r"(?<!than )(?<!or )\b(?:",
    _words("not never cannot neither nor hardly isnt wasnt arent dont doesnt cant wont"),
    r")\b|n't\b|\b(?:",
    _words("maybe perhaps possibly probably presumably doubtful unlikely unsure impossible"),
    r"|deny|refuse|nobody|no one|no way|by no means|far from|rather than|instead of",
    r"|anything (?:but|other than)|(?:i|my|a|wild|best) guess",
    r"|(?<!no )(?<!without )(?<!without a )(?<!beyond )doubt",
    r"|(?:wrong|false|incorrect|untrue|mistaken|bad)",
    r" (?:(?:final )?answer|value|result|number|solution|choice|that|to)",
    r"|(?:answer|it|solution|result) (?:might|may|could)(?: \w+)? be)\b",
    r"|\b(?:this|following|next)(?: \w+)? is (?:false|untrue|wrong|incorrect)(?=[^\w.!?]*\Z)",
    r"|\\neq?(?![a-z])|\\not(?![a-z])|≠",
)
# What may stand between a denying word and the answer that it denies.
_GOVERNED_WORDS = _words(
    """is are was were be been being am s it its that this the a an to equal equals exactly
        really truly actually simply just quite answer result value final correct right true case
        think thinking believe say claim said consider suppose suggest mean know sure certain
        certainly convinced would will could can might may should must have has do does as in any
        way all of course my our your here there even close near solution choice option equivalent
        necessarily you i we he she they number always if whether x y n displaystyle quad boxed"""
)
_GOVERNED_SET = frozenset(_GOVERNED_WORDS.split("|"))
_LONGEST_DENYING = 4  # words: "this answer is wrong"
_GOVERNED = _pattern(r"(?:[^\w.,;:!?]|\b(?:", _GOVERNED_WORDS, r")\b)*[^\w.!?]*")
_ENDS = (". ", "! ", "? ", ".\n", "!\n", "?\n")  # of a sentence
_LINE_END = re.compile(r"\n[ \t]*\n|\*\*|\n(?=[#*-])")
_UNTRUE = _pattern(  # from the beginning of the sentence to the answer
    r"\W*(?:(?:it is|it's|it was|that is)(?: \w+)? (?:not|false|wrong|untrue|incorrect|never)",
    r"(?: (?:true|right|correct|the case))? that\b",
    r"|it (?:is|was)n'?t (?:true|right|correct|the case) that\b",
    r"|(?:i|we) (?:do not|don'?t|cannot|can'?t|would not|wouldn'?t|doubt|deny|refuse)\b",
    r"[^,;]*\b(?:answer|that|it)\b)[^,;]*\Z",
)
_UNTRUE_BEGINS = frozenset({"it", "that", "i", "we"})
_SURE = ("sure", "certain", "guessing", "know", "no idea")
_UNSURE = _pattern(
    r"\bi(?:(?: am|'?m) (?:not (?:sure|certain)|unsure|guessing)|(?: do not| don'?t) know",
    r"| have no idea)\b[^.!?\n]{0,40}[.!?]?[^.!?]{0,30}\Z",
)
# The end of a text before an answer that is struck out, in a comment, or an example.
_STRUCK = ("~~", "<s>", "<del>", "<strike>", "<!--", "\\sout", "\\st", "\\cancel", "\\phantom", "%")
_EXAMPLE = ("for example", "for instance", "e.g", "such as")
_EXAMPLE_ENDS = frozenset({"example", "instance", "g", "as"})
_ASKS = _pattern(
    r"\W*(?:(?:so|but|and|then|or|hmm|well|wait)\b\W*)?(?:",
    _words("is are was were could would can might does do did should will"),
    r")\b",
)


def _kind(byte: int) -> int:
    sign = chr(byte) if byte < 128 else "\0"
    if sign.isalpha():
        return ord(sign.lower())
    if sign in ".!?":
        return ord(".")
    if sign in " \n":
        return ord(" ")
    # ~ \ { } < % and tab; of U+00AD, U+0130, U+2000-U+213F, U+2240-U+227F and U+FEFF one byte each
    return ord("!" if byte in b"~\\{}<%\t\xc2\xc4\x80\x81\x84\x89\xef" else "-")


# For a quick look at a text as it is, in UTF-8. In the place of a byte stands its letter in lower
# case, "." for the end of a sentence, a blank, "!" for what may be a sign that denies, typesets or
# is invisible, and "-" for anything else.
_KINDS = bytes(map(_kind, range(256)))
_ONLY_WORDS = bytes(b if b < 128 and chr(b).isalpha() else ord(" ") for b in range(256))
_SURE_BYTES = tuple(word.encode() for word in _SURE)

# --- after the answer ---------------------------------------------------------------------------

_CLOSING = r"(?:[\s$*_`)}{\]\"'”’~]|\\[)\]]|</?\w+>)*"  # of a mark
_GAP = r"(?:[.,;:!?(\n–—-]|\n)[\s.,;:!?()$*\\\]\n–—-]*"  # between it and another clause
_TURN = (
    r"(?:(?:oh|wait|hmm|well|but|and|or|actually|sorry|just|so|though|although|however|yet|because"
    r"|i mean|i (?:think|know|believe|say)|maybe|perhaps)\b[\s,.:…-]*)*"
)
_ADVERB = (
    r"(?:(?:definitely|clearly|surely|certainly|actually|really|obviously|also|simply|just|most"
    r"|very|likely|all|completely|totally|absolutely|quite|in fact|of course|still|probably|an?"
    r"|the)\s+)*"
)
_RIGHT = (
    r"(?:the\s+|my\s+|our\s+|an?\s+|actually\s+|really\s+)*(?:right|correct|true|final|actual|valid"
    r"|real|accurate|answer|solution|it|so|the case)"
)
_OF_THIS = r"\b(?!\s+(?:to|for|if|when|unless|that|in)\b)"  # wrong, but not "wrong for n = 4"
_WRONG = (
    r"(?:(?:wrong|false|incorrect|untrue|mistaken|invalid|rejected|nonsense|unlikely|a lie"
    r"|a mistake|a joke|a guess|my guess|inaccurate|ruled out|anything but|example|placeholder"
    rf"|never\s+{_RIGHT}|not\s+{_RIGHT}){_OF_THIS}|not\s*(?:[.,;!]|\Z))"
)
_IS_WRONG = (
    r"(?:(?:(?:would|must|might|may|could|will|has to)\s+)?"
    rf"(?:is|are|was|were|be|'s|seems?|looks?|sounds?)\s+{_ADVERB}{_WRONG}"
    rf"|(?:is|was|are)n'?t\s+{_RIGHT}{_OF_THIS}|(?:is|was)n'?t\s*(?:[.,;!]|\Z)"
    r"|(?:can'?t|cannot|can not|could not|couldn'?t|won'?t|would not|must not)\s+be"
    rf"(?:\s+(?:{_RIGHT}|possible){_OF_THIS}|\s*(?:[.,;!]|\Z))"
    r"|(?:does not|doesn'?t|can not|can'?t|cannot|will not|won'?t)\s+"
    r"(?:work|hold|count|make sense|fit|seem right)\b|fails\b)"
)
_PREDICATE = _pattern(
    _CLOSING, rf"(?:{_IS_WRONG}|(?:or\s+(?:maybe\s+|perhaps\s+)?)?not\s*(?:[.!]|\Z))"
)
_QUESTION = _pattern(_CLOSING, r"[,.;:\s]*(?:\w+[,\s]+)?\w*\s*\?")
_ASKED = re.compile(r"[^.!?\n]*\?")
_BARE = _pattern(
    rf"{_CLOSING}{_GAP}{_TURN}(?:no|nope|nah|wrong|false|incorrect|not|untrue|kidding|joking",
    r"|scratch that|never ?mind|maybe|perhaps|possibly|probably|or not|i guess)",
    r"(?:\s*[.,!;:)?]|\s*\Z|\s*\n)",
)
_NEXT = _pattern(
    rf"{_CLOSING}(?:[\w ]{{0,24}}?{_GAP})?{_TURN}",
    r"(?:which|that|this|it|the (?:above|latter)|all (?:of )?(?:that|this|the above)|and)\s*",
    _IS_WRONG,
)
_LATER = _pattern(
    r"\b(?:(?:answer|result|above|box|boxed (?:value|number|answer|result)|statement|i|i said"
    rf"|last line|everything above)\s+{_IS_WRONG}",
    r"|i (?:lied|was lying|made an? (?:mistake|error)|(?:do not|don'?t) (?:believe|think|mean)",
    r" (?:it|that|this|so)|am not sure|take (?:it|that) back)",
    r"|(?:just|only) (?:kidding|joking)|(?:ignore|disregard) (?:that|this|it|the)",
    r"|scratch that|never ?mind)\b",
)


def denied(text: str, start: int, end: int) -> bool:
    """Whether what stands around the answer `text[start:end]`, its mark included, denies or doubts
    it, or asks for it."""
    if not _nothing_before(text, start) and _denied_before(_before(text, start)):
        return True
    if not text[end : end + _RAW[-1]].strip("\n $.)]}\\*"):
        return False
    after = _plain(text[end : end + _RAW[-1]])[:AFTER]
    if "?" not in after and _HINTS_AFTER.isdisjoint(_WORD.findall(after)):
        return False
    return any(p.match(after) for p in (_PREDICATE, _QUESTION, _BARE, _NEXT)) or bool(
        _LATER.search(after)
        or ("?" in after and _ASKED.match(after) and _ASKS.match(_line(_before(text, start))))
    )


def _before(text: str, start: int) -> str:
    for size in _RAW:
        plain = _plain(text[max(start - size, 0) : start])
        if len(plain) >= BEFORE or size >= start:
            break
    return plain[-BEFORE:]


def _denied_before(before: str) -> bool:
    if any(word in before for word in _SURE) and _UNSURE.search(before):
        return True
    end = before.rstrip(" \t$")
    if end.endswith(_STRUCK) and not end.endswith("\\%"):
        return True
    if end.rstrip(" \n.,:").endswith(_EXAMPLE):
        return True
    sentence = before[max(map(before.rfind, _ENDS)) + 1 :]  # of an earlier one nothing governs
    words = _WORD.findall(sentence)
    if not _may_deny(words) and "≠" not in sentence:
        return False
    at = len(sentence)
    for word in reversed(words[_first_that_matters(words) :]):
        at = sentence.rfind(word, 0, at)
    for found in _DENYING.finditer(sentence, at if words else 0):
        if _GOVERNED.fullmatch(sentence, found.end()):
            return True
    return _UNTRUE.match(_line(sentence)) is not None


def _may_deny(words: list[str]) -> bool:
    """Whether these words of a sentence can deny what stands behind them: by their last ones, or as
    `_UNTRUE` does from the beginning."""
    if _HINTS_BEFORE.isdisjoint(words):
        return False
    return not (
        _UNTRUE_BEGINS.isdisjoint(words)
        and _HINTS_BEFORE.isdisjoint(words[_first_that_matters(words) :])
    )


def _first_that_matters(words: list[str]) -> int:
    """A denial ends just before words that it may govern."""
    governed = len(words)
    while governed and words[governed - 1] in _GOVERNED_SET:
        governed -= 1
    return max(governed - _LONGEST_DENYING, 0)


def _nothing_before(text: str, start: int) -> bool:
    """A quick look, a fifth of the work: nothing before the answer can deny it. False where only
    `_denied_before` can tell."""
    near = text[max(start - _RAW[0], 0) : start]
    if not near.isascii():
        near = near.replace("’", "'")
    raw = near.encode("utf-8", "replace").translate(_KINDS)
    if b"!" in raw or (start > _RAW[0] and _RAW[0] - 2 * raw.count(b"  ") < BEFORE):
        return False
    for word in _SURE_BYTES:
        if word in raw:
            return False
    raw = raw.rstrip(b" .-")
    sentence = raw[min(raw.rfind(b". ") + 1, max(len(raw) - 40, 0)) :]
    words = sentence.translate(_ONLY_WORDS).decode().split()
    return not words or not (words[-1] in _EXAMPLE_ENDS or _may_deny(words))


def _line(before: str) -> str:
    """What of the text before an answer begins after a blank line or a heading."""
    return _LINE_END.split(before[max(map(before.rfind, _ENDS)) + 1 :].rstrip())[-1]
