"""The sha256 that a JSON file of results carries of its own content.

Means, intervals and tables can be computed again from counts; counts and curves from nothing. Who
measures writes the seal with them; no reader renews it, so a digit that is changed later shows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common.results.provenance import sha256_json

KEY = "sha256"


def digest(values: dict[str, Any]) -> str:
    """The hash of everything but the seal itself."""
    return sha256_json({key: value for key, value in values.items() if key != KEY})


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """The values with the seal on them, in the place of an older one."""
    return values | {KEY: digest(values)}


def check(values: dict[str, Any]) -> None:
    """Raise ValueError unless the values carry a seal and it is theirs."""
    found = digest(values)
    if KEY not in values:
        raise ValueError(f"{KEY}: missing; only the command that makes the file writes it")
    if values[KEY] != found:
        raise ValueError(
            f"{KEY}: the content has {found}, the file says {values[KEY]}; the file was edited"
        )


def read_sealed(path: Path) -> dict[str, Any]:
    """The values of a sealed file, without the seal.

    Raises: ValueError naming the file when it was edited.
    """
    values = json.loads(path.read_text(encoding="utf-8"))
    try:
        check(values)
    except ValueError as error:
        raise ValueError(f"{'/'.join(path.parts[-4:])}: {error}; restore it") from None
    return {key: value for key, value in values.items() if key != KEY}
