"""Stage `data`: build the recipe's parquet files with a builder of the `data` package."""

from __future__ import annotations

import importlib
from pathlib import Path

from common.config import RunConfig
from common.console import say
from common.runs import shared_stage, source_digest


def prepare_data(run: RunConfig) -> Path:
    """The folder with the recipe's data files, built once for each seed."""
    data = run.recipe.data
    inputs = {
        "builder": data.builder,
        "options": data.options,
        "seed": run.seed,
        "source": source_digest(f"data/{data.builder}.py", "data/parquet.py"),
    }

    def make(folder: Path) -> None:
        say(f"data: building {data.builder} for seed {run.seed}")
        build = importlib.import_module(f"data.{data.builder}").build
        try:
            build(folder, run.seed, **data.options)
        except TypeError as error:
            raise ValueError(f"recipe.data.options: {error}") from None

    return shared_stage("data", inputs, make)
