"""GSM8K for RL and evaluation, and LIMO in three texts for the fine-tuning before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data import from_sources, warmup_texts
from data.parquet import write_parquet


def build(
    folder: Path,
    seed: int,
    *,
    template: str,
    raw_template: str,
    train: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    tests: dict[str, list[dict[str, Any]]],
    solutions: list[dict[str, Any]],
) -> None:
    """Write the files of `from_sources`, and `warmup_<text>` for each text of `warmup_texts.py`
    with the solutions of the parts in `solutions`. The files do not depend on the seed."""
    from_sources.build(
        folder, seed, template=template, train=train, validation=validation, tests=tests
    )
    solved = [row for _, row in from_sources.part_rows(solutions, "recipe.data.options.solutions")]
    for name, rows in warmup_texts.rows(solved, template, raw_template).items():
        write_parquet(folder / f"{name}.parquet", rows)
