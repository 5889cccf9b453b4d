"""Readers of published columns: from a cell to the text, number or mapping that our rows hold.

`sources.yaml` names them after `|`. Each takes the values of its columns and raises ValueError for
what it cannot read; none guesses.
"""

from __future__ import annotations

import base64
import json
import pickletools
import re
import zlib
from collections.abc import Callable
from typing import Any

from common.sandbox.problem import pack

# DAPO-Math-17k wraps every problem in an instruction of its own.
_DAPO_PREFIX = "of the problem.\n\n"
_DAPO_SUFFIX = "\n\nRemember to put your answer"
# LiveCodeBench @0b6e5ff4, lcb_runner/prompts/code_generation.py.
_WITH_STARTER_CODE = (
    "You will use the following starter code to write the solution to the problem and enclose "
    "your code within delimiters."
)
_WITHOUT_STARTER_CODE = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly "
    "test on the sample inputs). Enclose your code within delimiters as follows."
)
_DEGREES = re.compile(r"\s*(\^\s*(\{\s*\\circ\s*\}|\\circ)|°)$")


def hashes(text: str) -> str:
    """GSM8K: what follows the last `####`; commas are kept, as the published gold has them."""
    head, mark, answer = text.rpartition("####")
    if not mark or not answer.strip():
        raise ValueError("no answer after ####")
    return answer.strip()


def boxed(text: str) -> str:
    r"""The content of the last `\boxed{...}` or `\fbox{...}`, braces matched; or `\boxed x`."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if start < 0:
        raise ValueError("no \\boxed{...}")
    rest = text[text.index("x", start) + 1 :].removeprefix("ed")
    if not rest.lstrip().startswith("{"):
        return rest.split("$")[0].strip()
    depth, opened = 0, rest.index("{")
    for i in range(opened, len(rest)):
        depth += {"{": 1, "}": -1}.get(rest[i], 0)
        if depth == 0:
            return rest[opened + 1 : i]
    raise ValueError("a \\boxed{ that is never closed")


def integer(value: Any) -> str:
    r"""A whole number as its digits: 27.0, "073" and "336^\circ" give "27", "73" and "336"."""
    text = _DEGREES.sub("", str(value).strip().strip("$"))
    text = text.removesuffix(".0") if isinstance(value, float) else text
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f"{value!r} is no whole number")
    return str(int(text))


def first_integer(value: Any) -> str:
    """The first of several accepted whole numbers: `080 or 081 (both were accepted)` gives 80."""
    return integer(value.partition(" or ")[0] if isinstance(value, str) else value)


def first(values: list[Any]) -> str:
    """The one element of a list."""
    if len(values) != 1:
        raise ValueError(f"{len(values)} answers where one is wanted")
    return str(values[0])


def level(text: str) -> int | None:
    """MATH: `Level 3` gives 3; `Level ?` gives None."""
    digits = text.removeprefix("Level ")
    return int(digits) if digits.isdecimal() else None


def roles(people: list[str], knights: list[bool]) -> dict[str, str]:
    """Knights and Knaves: name -> knight or knave."""
    if len(people) != len(knights):
        raise ValueError(f"{len(people)} names, {len(knights)} roles")
    return {n: "knight" if k else "knave" for n, k in zip(people, knights, strict=True)}


def dapo(prompt: str) -> str:
    """The problem without DAPO's own instruction; a prompt in another form stays as it is."""
    problem = prompt.partition(_DAPO_PREFIX)[2] or prompt
    return problem.partition(_DAPO_SUFFIX)[0].strip()


def text(*values: Any) -> str:
    return " ".join(str(value) for value in values)


def as_json(value: Any) -> str:
    """Nested lists of texts, whose depth differs from row to row, as JSON text."""
    return json.dumps(value, ensure_ascii=False)


def code_format(starter_code: str) -> str:
    """LiveCodeBench: how a solution is to be written, with the starter code where there is some."""
    if starter_code:
        return f"{_WITH_STARTER_CODE}\n```python\n{starter_code}\n```"
    return f"{_WITHOUT_STARTER_CODE}\n```python\n# YOUR CODE HERE\n```"


def livecodebench(public: str, private: str, metadata: str) -> dict[str, str]:
    """LiveCodeBench: public and private tests of one problem, packed (common/sandbox/problem.py).

    Private tests are JSON, or base64 of zlib of a pickled text that is JSON.
    """
    tests = json.loads(public)
    try:
        tests += json.loads(private)
    except ValueError:
        tests += json.loads(_pickled_text(zlib.decompress(base64.b64decode(private))))
    if not tests or len({test["testtype"] for test in tests}) != 1:
        raise ValueError("tests of one type are wanted, at least one")
    gold: dict[str, Any] = {
        key: [test[key[:-1]] for test in tests] for key in ("inputs", "outputs")
    }
    if tests[0]["testtype"] == "functional":
        gold["fn_name"] = json.loads(metadata)["func_name"]
    return pack(gold)


def _pickled_text(data: bytes) -> str:
    """The text of a pickle that is one text, read without running it; ValueError for any other."""
    texts = []
    for operation, argument, _ in pickletools.genops(data):
        if operation.name in ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"):
            texts.append(argument)
        elif operation.name not in ("PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "STOP"):
            raise ValueError(f"a pickle with {operation.name}, where one text is wanted")
    if len(texts) != 1:
        raise ValueError(f"a pickle of {len(texts)} texts, where one is wanted")
    return str(texts[0])


def codeforces(
    tests: list[dict[str, str]] | None,
    complete: bool,
    checker: str | None,
    mode: str | None,
    interaction: str | None,
    rating: int | None,
    time_limit: float | None,
) -> dict[str, str] | None:
    """CodeForces: the official tests of a problem, packed; None where they cannot decide: some are
    cut, several answers are right (there is a checker), it talks to a judge (how, is said in
    `interaction`) or through files, or it has no rating.

    Time limits are for compiled languages; a Python program gets three times as long (ours).
    """
    if not tests or not complete or checker or interaction or rating is None:
        return None
    if mode not in (None, "stdio"):
        return None
    gold: dict[str, Any] = {
        key: [test[key[:-1]] for test in tests] for key in ("inputs", "outputs")
    }
    return pack(gold | ({"time_limit": 3 * time_limit} if time_limit else {}))


def statement(*parts: Any) -> str:
    """CodeForces: title, description, input, output, note and time limit (s) as one text."""
    title, description, given, printed, note, seconds = (part or "" for part in parts)
    text = f"{title}\n\n{description}\n\nInput\n\n{given}\n\nOutput\n\n{printed}\n"
    text += f"\nNote\n\n{note}\n" if note else ""
    return text + (f"\nTime limit: {seconds} s" if seconds else "")


def sample_tests(tests: list[dict[str, str]]) -> dict[str, list[str]]:
    """rllm: a list of tests with `input` and `output`."""
    return {f"{key}s": [test[key] for test in tests] for key in ("input", "output")}


READERS: dict[str, Callable[..., Any]] = {
    "hashes": hashes,
    "boxed": boxed,
    "integer": integer,
    "first": first,
    "first_integer": first_integer,
    "level": level,
    "roles": roles,
    "count": len,
    "dapo": dapo,
    "text": text,
    "json": as_json,
    "code_format": code_format,
    "codeforces": codeforces,
    "livecodebench": livecodebench,
    "sample_tests": sample_tests,
    "statement": statement,
}


def reader(spec: Any) -> Callable[[dict[str, Any]], Any]:
    """The function from a published row to one of our fields that `spec` of `fields` describes.

    Raises: ValueError for an unknown reader; the function raises KeyError for a missing column.
    """
    if isinstance(spec, dict):
        parts = {name: reader(part) for name, part in spec.items()}
        return lambda row: {name: part(row) for name, part in parts.items()}
    columns, _, name = (part.strip() for part in spec.partition("|"))
    if name and name not in READERS:
        raise ValueError(f"{spec!r}: no reader {name!r}; there is {', '.join(READERS)}")
    paths = [column.split(".") for column in columns.split()]
    if not name:
        (path,) = paths
        return lambda row: _at(row, path)
    read = READERS[name]
    return lambda row: read(*(_at(row, path) for path in paths))


def columns_of(spec: Any) -> set[str]:
    """The top-level columns that a field's `spec` reads."""
    if isinstance(spec, dict):
        return set().union(*(columns_of(part) for part in spec.values()))
    return {column.split(".")[0] for column in spec.partition("|")[0].split()}


def _at(row: Any, path: list[str]) -> Any:
    for key in path:
        row = row[int(key)] if isinstance(row, list) else row[key]
    return row
