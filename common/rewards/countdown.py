"""Countdown: reach a target with given numbers, each used exactly once, and + - * / ( ).

`gold`: `{"numbers": [44, 19, 35], "target": 98}` or its JSON text. Both graders read the last
`<answer>...</answer>` with a tokenizer and an evaluator of their own: text is never executed.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from common.rewards.denial import denied
from common.rewards.tags import after_thought, blocks, last_span
from common.rewards.verdict import Grader, Outcome, Row, Verdict

MAX_DEPTH = 64  # open parentheses in a strict answer
# What CPython takes: digits of an integer, open parentheses, and about this many signs in a row.
PYTHON_MAX_DIGITS = 4300
PYTHON_MAX_DEPTH = 200
PYTHON_MAX_TOKENS = 2900
MAX_BITS = 1 << 17  # of a power that is still worked out, as published
TOLERANCE = 1e-5  # of a value, as published
FORMAT_SCORE = 0.1  # of an answer that is not right, as published

_STRICT_TOKEN = re.compile(r"[0-9]+|\S", re.ASCII)
# Numbers and operators as Python reads them; a carriage return is a token, as its meaning depends
# on the parentheses around it.
_PYTHON_TOKEN = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+|\*\*|//|[^ \t\f]")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Rules:
    """A language of expressions. `binary`: precedence and function by sign, grouped from the left
    (precedence `RIGHT`: from the right). `prefix`: the same for a sign before a value. `number`:
    reads a number, or raises ValueError. `depth`: open parentheses at most."""

    binary: Mapping[str, tuple[int, Callable[[Any, Any], Any]]]
    prefix: Mapping[str, tuple[int, Callable[[Any], Any]]]
    number: Callable[[str], Any]
    depth: int


RIGHT = 4


def divide(left: int | Fraction, right: int | Fraction) -> int | Fraction:
    """The exact quotient; an int where it is one, which keeps most of the work off Fraction."""
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return Fraction(left) / right


def python_number(token: str) -> int | float:
    """An integer or decimal literal. A literal such as `007` is a syntax error in Python."""
    if "." in token:
        return float(token)
    digits = token.isascii() and token.isdigit()
    if not digits or (token[0] == "0" and token.strip("0")):
        raise ValueError(f"not a number: {token[:20]!r}")
    return int(token)


def bounded_power(left: Any, right: Any) -> Any:
    """`left ** right`, refused where an integer result would have more than MAX_BITS bits."""
    integers = isinstance(left, int) and isinstance(right, int)
    if integers and abs(left) > 1 and left.bit_length() * right > MAX_BITS:
        raise OverflowError("power too large")
    return left**right


STRICT = Rules(
    binary={
        "+": (1, operator.add),
        "-": (1, operator.sub),
        "*": (2, operator.mul),
        "/": (2, divide),
    },
    prefix={},
    number=int,  # `strict_value` has read them
    depth=MAX_DEPTH,
)
# Python's grammar of what the published character check lets through, on Python's own numbers.
PYTHON = Rules(
    binary={
        "+": (1, operator.add),
        "-": (1, operator.sub),
        "*": (2, operator.mul),
        "/": (2, operator.truediv),
        "//": (2, operator.floordiv),
        "**": (RIGHT, bounded_power),
    },
    prefix={"+": (3, operator.pos), "-": (3, operator.neg)},
    number=python_number,
    depth=PYTHON_MAX_DEPTH,
)


def evaluate(tokens: list[str], rules: Rules) -> Any:
    """The value of an expression, in one pass with a stack of values and one of signs.

    Raises: ValueError for what is no expression; ArithmeticError or TypeError where a value does
    not exist.
    """
    values: list[Any] = []
    signs: list[tuple[int, Callable | None, int]] = []  # precedence, function, how many values
    binary, prefix, number = rules.binary, rules.prefix, rules.number
    depth, value_next = 0, True
    for token in tokens:
        if token == "\r" and depth:
            continue
        if value_next:
            if token == "(":
                depth += 1
                if depth > rules.depth:
                    raise ValueError("too many nested parentheses")
                signs.append((0, None, 0))
            elif token in prefix:
                signs.append((*prefix[token], 1))
            else:
                values.append(number(token))
                value_next = False
        elif token in binary:
            precedence, function = binary[token]
            floor = precedence if precedence == RIGHT else precedence - 1
            while signs and signs[-1][0] > floor:
                _apply(values, signs)
            signs.append((precedence, function, 2))
            value_next = True
        elif token == ")" and depth:
            depth -= 1
            while signs[-1][0]:
                _apply(values, signs)
            signs.pop()
        else:
            raise ValueError(f"unexpected {token[:20]!r}")
    if value_next:
        raise ValueError("a value is missing at the end")
    while signs:
        _apply(values, signs)
    return values[0]


def _apply(values: list[Any], signs: list[tuple[int, Callable | None, int]]) -> None:
    """Put the value of the last sign in the place of what it takes."""
    _, function, count = signs.pop()
    if function is None:
        raise ValueError("a parenthesis is not closed")
    right = values.pop()
    values.append(function(values.pop(), right) if count == 2 else function(right))


def puzzle(gold: Any) -> tuple[list[int], int] | None:
    """Numbers and target; None for a text that is no JSON of a puzzle.

    Raises: ValueError for a gold of another type, or a mapping without these two.
    """
    if isinstance(gold, str):
        try:
            return puzzle(json.loads(gold))
        except (ValueError, RecursionError):
            return None
    if not isinstance(gold, (dict, Mapping)):  # the second alone is slow for the first
        raise ValueError(f"gold: numbers and target are wanted, not {type(gold).__name__}")
    numbers, target = gold.get("numbers"), gold.get("target")
    if not isinstance(numbers, list) or set(map(type, numbers)) != {int}:
        raise ValueError("gold.numbers: a list of integers is wanted")
    if type(target) is not int:  # a bool is none
        raise ValueError("gold.target: an integer is wanted")
    return numbers, target


def _last_answer(response: str) -> tuple[str, str, int, int] | None:
    """The last answer; what stands behind the thought; where in it the answer and its tags do."""
    part = after_thought(response, "think")
    span = last_span(part, "answer")
    if span is None:
        return None
    return part[slice(*span)].strip(), part, span[0] - len("<answer>"), span[1] + len("</answer>")


@lru_cache(maxsize=1 << 16)
def _in_digits(numbers: tuple[int, ...]) -> list[str]:
    return sorted(map(str, numbers))


def strict_value(expression: str, numbers: list[int]) -> int | Fraction | None:
    """The exact value of an expression over `numbers`, each used once; None for anything else."""
    tokens = _STRICT_TOKEN.findall(expression)
    used = [token for token in tokens if token.isdigit()]
    # as texts: a number with a leading zero or in other digits than ours is none of the given ones
    if len(used) != len(numbers) or sorted(used) != _in_digits(tuple(numbers)):
        return None
    try:
        return evaluate(tokens, STRICT)
    except (ValueError, ArithmeticError):
        return None


def grade_strict(row: Row) -> Verdict:
    """1 when the answer behind the thought is an expression over the given numbers, each used
    exactly once, with the four operations and parentheses, whose exact value is the target; else 0.

    Nothing else may stand in the answer: no signs before a value, no `= target`, no unicode minus
    or times; and no sentence around it denies it. An empty thought costs nothing: a right
    expression is its own proof.
    """
    gold = puzzle(row["gold"])
    if gold is None:
        return Verdict(Outcome.UNGRADABLE, 0.0)
    numbers, target = gold
    found = _last_answer(row["response"] or "")
    answer = found[0] if found else None
    if found is None or strict_value(found[0], numbers) != target or denied(*found[1:]):
        return Verdict(Outcome.WRONG, 0.0, answer, {"format": float(found is not None)})
    return Verdict(Outcome.CORRECT, 1.0, answer, {"format": 1.0})


def published_answer(response: str) -> str | None:
    """The last answer on the last line; None without one, so also when a newline follows it."""
    found = blocks(response.rpartition("\n")[2], "answer")
    return found[-1].strip() if found else None


def published_value(expression: str, numbers: list[int]) -> Any:
    """What Python's `eval` would say of an expression whose runs of digits are `numbers`, in some
    order; None where the original finds no value (`grade_published`)."""
    used = _DIGITS.findall(expression)
    if len(used) != len(numbers) or max(map(len, used), default=0) > PYTHON_MAX_DIGITS:
        return None
    tokens = _PYTHON_TOKEN.findall(expression)
    if sorted(map(int, used)) != sorted(numbers) or len(tokens) > PYTHON_MAX_TOKENS:
        return None
    try:
        return evaluate(tokens, PYTHON)
    except (ValueError, ArithmeticError, TypeError):
        return None


def grade_published(row: Row) -> Verdict:
    """1 when the last answer on the response's last line has the target's value, 0.1 for any other
    answer there, 0 without one.

    Source: verl/utils/reward_score/countdown.py of Jiayi-Pan/TinyZero @4196ea33 and of
    kanishkg/cognitive-behaviors @9c90d333, which evaluates the answer as Python: so `//`, `**`,
    signs, and decimals made of two numbers (`1.5` uses 1 and 5) count, and a value within 1e-5 is
    right. The same verdicts here on Python's own numbers, without executing anything, but for
    powers above 2**17 bits: the original works on them for seconds or for ever (`9**9**9**9`),
    here they have no value and score 0.1. The original reads prompt and response together, behind
    "Assistant:"; of that only the last line matters, which is the response's.
    """
    gold = puzzle(row["gold"])
    if gold is None:
        return Verdict(Outcome.UNGRADABLE, 0.0)
    numbers, target = gold
    answer = published_answer(row["response"] or "")
    if answer is None:
        return Verdict(Outcome.WRONG, 0.0, None, {"format": 0.0})
    value = published_value(answer, numbers)
    try:
        right = value is not None and abs(value - target) < TOLERANCE
    except ArithmeticError:  # an integer or complex value beyond the range of floats
        right = False
    if right:
        return Verdict(Outcome.CORRECT, 1.0, answer, {"format": 1.0})
    return Verdict(Outcome.WRONG, FORMAT_SCORE, answer, {"format": 1.0})


GRADERS = (
    Grader("countdown_published", "1", grade_published, metrics=("format",)),
    Grader("countdown_strict", "2", grade_strict, metrics=("format",)),
)
