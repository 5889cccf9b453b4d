"""The tests of a code problem, as the gold of the grader `code` has them."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIME_LIMIT_S = 6.0  # of a test where the problem gives none (LiveCodeBench's)
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Problem:
    """`function`: its name, or None for stdin tests; `time_limit_s`: processor seconds a test."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    function: str | None = None
    time_limit_s: float = TIME_LIMIT_S

    @staticmethod
    def of(gold: Any) -> Problem:
        """From `{"inputs": [texts], "outputs": [texts]}`, with `fn_name` and `time_limit` where
        there are any; or from `{"packed": text}`, as `pack` makes it; each as a mapping or as JSON.

        Raises: ValueError naming the key that is wrong.
        """
        found = _mapping(gold)
        if "packed" in found:
            try:
                found = _mapping(zlib.decompress(base64.b64decode(found["packed"])))
            except (ValueError, TypeError, zlib.error) as error:
                raise ValueError(f"gold: packed: {error}") from None
        unknown = set(found) - {"inputs", "outputs", "fn_name", "time_limit"}
        if unknown:
            raise ValueError(f"gold: unknown key {min(unknown)!r}")
        inputs, outputs = (_texts(found, key) for key in ("inputs", "outputs"))
        if len(inputs) != len(outputs):
            raise ValueError(f"gold: {len(inputs)} inputs, {len(outputs)} outputs")
        function, limit = found.get("fn_name"), found.get("time_limit") or TIME_LIMIT_S
        if function is not None and not (isinstance(function, str) and _NAME.fullmatch(function)):
            raise ValueError(f"gold: fn_name: {function!r} is no name")
        if not isinstance(limit, int | float) or not 0 < limit <= 300:
            raise ValueError(f"gold: time_limit: {limit!r}: give seconds, at most 300")
        if function is not None:
            for output in outputs:
                _json_value(output)
        return Problem(inputs, outputs, function, float(limit))


def pack(gold: Mapping[str, Any]) -> dict[str, str]:
    """A gold with its tests compressed: some problems have tens of megabytes of them."""
    text = json.dumps(gold, ensure_ascii=False).encode()
    return {"packed": base64.b64encode(zlib.compress(text)).decode()}


def _mapping(gold: Any) -> Mapping[str, Any]:
    found = _json_value(gold) if isinstance(gold, str | bytes) else gold
    if not isinstance(found, Mapping):
        raise ValueError(f"gold: a mapping with inputs and outputs is wanted, not {gold!r:.80}")
    return found


def _json_value(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"gold: {text!r:.80} is no JSON ({error})") from None


def _texts(gold: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = gold.get(key)
    if not isinstance(found, list | tuple) or not found:
        raise ValueError(f"gold: {key}: a list of texts is wanted, at least one")
    if not all(isinstance(text, str) for text in found):
        raise ValueError(f"gold: {key}: a list of texts is wanted")
    return tuple(found)
