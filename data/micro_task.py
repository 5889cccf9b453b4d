"""Micro tasks: draws of different problems, and the files that every generator writes."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from data.parquet import prompt_row, write_parquet

Problem = TypeVar("Problem")
Response = TypeVar("Response")


def draw_distinct(
    rng: random.Random,
    count: int,
    draw: Callable[[random.Random], Problem],
    key: Callable[[Problem], Hashable],
    exclude: Iterable[Problem] = (),
) -> list[Problem]:
    """`count` problems with different keys, none that of a problem in `exclude`, as drawn.

    Raises ValueError when draws bring almost nothing new: the options allow too few problems.
    """
    seen = {key(problem) for problem in exclude}
    found: list[Problem] = []
    known = 0  # draws in a row that were known already
    while len(found) < count:
        problem = draw(rng)
        if (identity := key(problem)) not in seen:
            seen.add(identity)
            found.append(problem)
            known = 0
        elif (known := known + 1) == 1000:
            raise ValueError(
                f"recipe.data.options: {count} different problems asked for beside {len(seen)} "
                "others, more than the options allow: ask for less, or let problems be larger"
            )
    return found


class Draws(Generic[Problem]):
    """The problems of one seed's files, drawn by `draw` and the same where `key` is.

    `held_out`: validation and test problems, from a seed of their own, so that arms and seeds are
    compared on the same ones; `splits`: these and `train`; `rng`: the stream of everything else.
    Problems of one split are different, and no other file has one that is held out.
    """

    def __init__(
        self,
        draw: Callable[[random.Random], Problem],
        key: Callable[[Problem], Hashable],
        held_out_seed: int,
        seed: int,
        *,
        train: int,
        validation: int,
        test: int,
    ) -> None:
        self._draw, self._key = draw, key
        self.rng = random.Random(seed)
        self.held_out = draw_distinct(random.Random(held_out_seed), validation + test, draw, key)
        self.splits = {
            "validation": self.held_out[:validation],
            "test": self.held_out[validation:],
            "train": self.distinct(train),
        }

    def distinct(self, count: int) -> list[Problem]:
        """`count` different problems, none of them held out."""
        return draw_distinct(self.rng, count, self._draw, self._key, self.held_out)

    def taught(
        self, respond: Callable[[Problem, float], Response], sft: int, sft_noisy: int, noise: float
    ) -> dict[str, list[Response]]:
        """`respond(problem, share of noise)` for different problems of each file for SFT."""
        return {
            "sft": [respond(problem, 0.0) for problem in self.distinct(sft)],
            "sft_noisy": [respond(problem, noise) for problem in self.distinct(sft_noisy)],
        }


def resample(rng: random.Random, text: str, share: float, *pools: str) -> str:
    """Replace each character of a pool, with probability `share`, by a uniform one of that pool."""
    pool_of = {character: pool for pool in pools for character in pool}
    return "".join(
        rng.choice(pool_of[c]) if c in pool_of and rng.random() < share else c for c in text
    )


def write_task(
    folder: Path,
    source: str,
    prompts: dict[str, list[tuple[str, str]]],
    taught: dict[str, list[tuple[str, str]]],
) -> None:
    """Write one parquet file for each key: `prompts` are (prompt, ground truth), `taught` (prompt,
    response) pairs for SFT."""
    for split, pairs in prompts.items():
        rows = [prompt_row(source, p, truth, split, i) for i, (p, truth) in enumerate(pairs)]
        write_parquet(folder / f"{split}.parquet", rows)
    for name, pairs in taught.items():
        roles = [{"user": prompt, "assistant": response} for prompt, response in pairs]
        rows = [{"messages": [{"role": r, "content": c} for r, c in m.items()]} for m in roles]
        write_parquet(folder / f"{name}.parquet", rows)
