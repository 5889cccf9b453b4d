"""The language of claims: arithmetic over measurements of arms, parsed and walked, never executed.

    mean(gspo, 'actor/pg_clipfrac') / mean(grpo, 'actor/pg_clipfrac')

Numbers, + - * /, unary minus, parentheses, log10(x) and the measurements

    mean(arm, metric)           mean of a training curve over its logged steps
    first(arm, metric, k)       mean of its first k logged values
    final(arm, metric, k)       mean of its last k logged values
    accuracy(arm, benchmark)    mean over problems of c / n
    pass_at(arm, benchmark, k)  mean over problems of the unbiased pass@k
    tokens(arm, benchmark)      mean over problems of a response's tokens
    entropy(arm, benchmark)     mean over problems of the policy's entropy a token, nats
    detail(arm, 'benchmark/m')  mean over problems of m in a response, a metric of the grader

Arms are bare names or quoted; metrics and benchmarks are quoted.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# numpy's operators, because Python's raise on a division by zero
_OPERATORS: dict[type[ast.operator], np.ufunc] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_USAGE = {
    "mean": "mean(arm, metric)",
    "first": "first(arm, metric, k)",
    "final": "final(arm, metric, k)",
    "accuracy": "accuracy(arm, benchmark)",
    "pass_at": "pass_at(arm, benchmark, k)",
    "tokens": "tokens(arm, benchmark)",
    "entropy": "entropy(arm, benchmark)",
    "detail": "detail(arm, 'benchmark/metric')",
}
_LONGEST = 500  # characters; bounds the depth of the tree that is walked


@dataclass(frozen=True)
class Measurement:
    """One call of `function` in an expression; `name` is a metric or a benchmark."""

    function: str
    arm: str
    name: str
    k: int = 1


@dataclass(frozen=True)
class Expression:
    """A checked expression. `ratio`: its top node is a division."""

    tree: ast.expr
    measurements: tuple[Measurement, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(m.arm for m in self.measurements))

    @property
    def ratio(self) -> bool:
        return isinstance(self.tree, ast.BinOp) and isinstance(self.tree.op, ast.Div)

    def value(self, measured: Mapping[Measurement, Any]) -> Any:
        """Its value from a number, or an array (R,) of resamples, for each measurement.

        Division by zero and the logarithm of what is not positive give inf or NaN.
        """
        with np.errstate(all="ignore"):
            return _value(self.tree, measured)


def parse(text: str) -> Expression:
    """Check an expression. Raises: ValueError saying what is not part of the language."""
    if len(text) > _LONGEST:
        raise ValueError(f"the expression has {len(text)} characters; at most {_LONGEST}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"{text!r} is no expression; see common/results/expression.py") from None
    measurements = tuple(dict.fromkeys(_check(tree)))
    if not measurements:
        raise ValueError(f"{text!r} measures nothing; use one of {', '.join(_USAGE.values())}")
    return Expression(tree, measurements)


def _check(node: ast.AST) -> list[Measurement]:
    """The measurements below a node, in order."""
    match node:
        case ast.Constant(value=int() | float() as value) if _finite(value):
            return []
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _check(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _check(left) + _check(right)
        case ast.Call(func=ast.Name(id="log10"), args=[argument], keywords=[]):
            return _check(argument)
        case ast.Call(func=ast.Name(id=function)) if function in _USAGE:
            return [_measurement(node)]
        case ast.Call(func=ast.Name(id=function)) if function != "log10":
            raise ValueError(f"unknown function {function}; known: {', '.join(_USAGE)}, log10")
    raise ValueError(
        f"{ast.unparse(node)!r} is not part of the language: numbers, + - * /, "
        f"{', '.join(_USAGE.values())}, log10(x)"
    )


def _measurement(call: ast.Call) -> Measurement:
    function = call.func.id  # type: ignore[attr-defined]
    match call.args:
        case [
            ast.Name(id=arm) | ast.Constant(value=str(arm)),
            ast.Constant(value=str(name)),
            *rest,
        ]:
            counts = [n.value for n in rest if isinstance(n, ast.Constant) and type(n.value) is int]
            wanted = 1 if function in ("first", "final", "pass_at") else 0
            valid = len(counts) == len(rest) == wanted and all(k >= 1 for k in counts)
            if valid and not call.keywords:
                return Measurement(function, arm, name, *counts)
    raise ValueError(f"{ast.unparse(call)!r}: write {_USAGE[function]}, with k a whole number >= 1")


def _finite(value: float) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except OverflowError:  # a whole number of more than 308 digits
        return False


def _value(node: ast.AST, measured: Mapping[Measurement, Any]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.UnaryOp(operand=operand):
            return -_value(operand, measured)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, measured), _value(right, measured))
        case ast.Call(func=ast.Name(id="log10"), args=[argument]):
            return np.log10(_value(argument, measured))
        case ast.Call():
            return measured[_measurement(node)]
    raise AssertionError(ast.dump(node))
