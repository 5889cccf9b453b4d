"""`python -m common fork RECIPE NEW`: a copy of a recipe's folder to try an idea in."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from common.config import ROOT
from common.results.provenance import git_state, sha256_file, sha256_json

FILE = "forked_from.yaml"
LEFT = ("__pycache__", FILE)
TAKEN = ("paper", "results", "runs")  # what `diff` takes for something else
README = """\
# {new}: forked from {old}

What is asked, and why {old} does not answer it: write it here.

Change a value in `recipe.yaml`, a scale or a variant, then:

- `python -m common diff {old} {new}`: what differs, the algorithm's keys apart from the rest
- `bash recipes/{new}/run.sh`: trains, and shows the rows of {old} beside its own
- `python -m common table {new}`: writes `results/{new}/README.md`

Claims and numbers of the paper are still those of [{old}](../{old}/README.md). A claim of your own
belongs into `claims.yaml` before its result.
"""


def fork(parent: Path, new: str) -> Path:
    """Copy the folder, without results; note where it comes from. Returns the new folder.

    Raises: ValueError for a name that cannot be, or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", new):
        raise ValueError(f"{new!r}: a recipe's name has lower-case letters, digits and _ only")
    if new in TAKEN:
        raise ValueError(f"{new!r}: `diff` means something else by it; choose another name")
    folder = ROOT / "recipes" / new
    for taken in (folder, ROOT / "results" / new, ROOT / "runs" / new):
        if taken.exists():
            raise ValueError(f"{taken.relative_to(ROOT)} is there already; choose another name")
    origin = {
        "recipe": parent.name,
        "commit": git_state(ROOT)["commit"],
        "sha256": folder_sha256(parent),
    }
    partial = folder.with_name(f".{new}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(parent, partial, ignore=shutil.ignore_patterns(*LEFT))
    for path in sorted(partial.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        path.write_text(renamed(text, parent.name, new), encoding="utf-8")
    (partial / "README.md").write_text(README.format(old=parent.name, new=new), encoding="utf-8")
    written = f"# Written by `python -m common fork`. Do not edit.\n{yaml.safe_dump(origin)}"
    (partial / FILE).write_text(written, encoding="utf-8")
    partial.rename(folder)
    return folder


def renamed(text: str, old: str, new: str) -> str:
    """A recipe's YAML that names its own modules and project by the new name."""
    text = re.sub(rf"\brecipes\.{old}\.(?=\w)", f"recipes.{new}.", text)
    return re.sub(rf"(?m)^(\s*project_name: ){old}\b", rf"\g<1>{new}", text)


def folder_sha256(folder: Path) -> str:
    """Of the names and the bytes of all files of a recipe."""
    files = [p for p in folder.rglob("*") if p.is_file() and not set(p.parts) & set(LEFT)]
    return sha256_json({p.relative_to(folder).as_posix(): sha256_file(p) for p in files})


def forked_from(folder: Path) -> dict[str, Any] | None:
    """`recipe`, `commit` and `sha256` of the parent's folder; None for a recipe that is no fork."""
    path = folder / FILE
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
