"""BibTeX of a recipe: its paper's, from `paper.bib`, and ours, from `CITATION.cff`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from common.config import ROOT


def paper_bibtex(recipe: Path) -> str:
    """The entries of the recipe's `paper.bib`; empty where it has none."""
    path = recipe / "paper.bib"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def software() -> dict[str, Any]:
    """What `CITATION.cff` says of this project."""
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def own_bibtex(recipe: str, finished: list[str], commits: list[str]) -> str:
    """The entry for our results of one recipe.

    Args: finished: when each record was (ISO 8601); commits: of the code that made them.
    """
    cited = software()
    name = recipe.replace("_", r"\_")  # in TeX
    # braces keep BibTeX from taking a group's name for a person's
    authors = " and ".join(f"{{{author['name']}}}" for author in cited["authors"])
    count = f"{len(finished)} record{'s' if len(finished) > 1 else ''}"
    code = f"{count}; code at commit {', '.join(commits)}"
    fields = {
        "title": f"{{{cited['title']}}}: {name}",
        "author": authors,
        "version": cited["version"],
        "year": max(finished)[:4] if finished else None,
        "note": code if finished else None,
    }
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items() if value]
    return "\n".join([f"@software{{rl_paper_recipes_{recipe},", *lines, "}"]) + "\n"
