"""Which samples of a prompt go to the update, and the rewards they take there.

The Qwen3-RL post (manutdzou.github.io, 2025-06-26) samples 16 responses to a prompt, normalises
their rewards over all 16, and updates on the 2 lowest and the 2 highest. A recipe writes the fields
of `Selection` below `trainer.v1.sampler.sampler_kwargs.selection`; `sampler.py` applies them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

KEY = "trainer.v1.sampler.sampler_kwargs.selection"
RULES = ("all", "extremes", "max_variance", "random")
NORMALISE = ("before", "after", "never")
# Added to the standard deviation, as by verl's GRPO (core_algos.py, 0.9.1).
EPSILON = 1e-6


@dataclass(frozen=True)
class Selection:
    """`rule`: which samples of a group are kept.

    - `extremes`: the `lowest` and the `highest` scores, as many as these say.
    - `max_variance`: the `count` scores of the largest variance, which are some lowest and the rest
      highest (arXiv 2504.13818): of an uneven group not as many of both.
    - `random`: `count` of them, drawn with `seed`; the control.
    - `all`.

    Equal scores are told apart by the number of the sample, which says nothing of it.

    `normalise`: (reward - mean) / (standard deviation + 1e-6), over all samples of the prompt
    (`before` the selection, the post's order), over the kept ones alone (`after`), or `never`. The
    deviation is the sample's, with n - 1, as in verl's GRPO; a group of equal rewards gets 0.

    Raises: ValueError for a value that is none of these.
    """

    rule: str
    normalise: str
    lowest: int = 0
    highest: int = 0
    count: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("rule", RULES), ("normalise", NORMALISE)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{KEY}.{name}: {value!r} is not one of {', '.join(known)}")
        named: dict[str, set[str]] = {"extremes": {"lowest", "highest"}, "all": set()}
        wanted = named.get(self.rule, {"count"})
        for name in ("lowest", "highest", "count"):
            value = getattr(self, name)
            if value < 0 or (value and name not in wanted):
                raise ValueError(
                    f"{KEY}.{name}={value}: with rule {self.rule} it is no such number"
                )
        if self.rule != "all" and not self.kept_of(1):
            raise ValueError(
                f"{KEY}: rule {self.rule} keeps nothing; set {', '.join(sorted(wanted))}"
            )

    def kept_of(self, samples: int) -> int:
        """How many of a prompt's `samples` are kept."""
        return samples if self.rule == "all" else self.lowest + self.highest + self.count

    def check(self, samples: int) -> None:
        """Raise ValueError when a prompt has fewer samples than are to be kept."""
        if self.kept_of(samples) > samples:
            raise ValueError(
                f"{KEY}: keeps {self.kept_of(samples)} of the "
                f"actor_rollout_ref.rollout.n={samples} samples of a prompt; raise n, or keep less"
            )

    def keep(self, scores_G: Sequence[float], draw: Callable[[], random.Random]) -> list[int]:
        """Positions of the kept samples, ascending; all, of a group that is not larger.

        `draw`: the generator of this group, asked for by the rule `random` alone.
        """
        size = len(scores_G)
        if self.kept_of(size) >= size:
            return list(range(size))
        ranked = sorted(range(size), key=lambda i: (scores_G[i], i))
        if self.rule == "random":
            return sorted(draw().sample(range(size), self.count))
        low = self.lowest
        if self.rule == "max_variance":
            low = _most_variance([scores_G[i] for i in ranked], self.count)
        high = self.kept_of(size) - low
        return sorted(ranked[:low] + ranked[size - high :])

    def rewards(self, scores_G: Sequence[float], kept: Sequence[int]) -> list[float]:
        """What the kept samples take to the update, in their order."""
        chosen = [scores_G[i] for i in kept]
        if self.normalise == "never":
            return chosen
        over = list(scores_G) if self.normalise == "before" else chosen
        if len(over) < 2 or min(over) == max(over):
            return [0.0] * len(chosen)
        mean, scale = fmean(over), stdev(over) + EPSILON
        return [(score - mean) / scale for score in chosen]


def _most_variance(ranked: Sequence[float], count: int) -> int:
    """How many of `count` values of the largest variance are the lowest ones, of ascending values;
    as near to half as that can be."""
    halves = sorted(range(count + 1), key=lambda low: abs(2 * low - count))

    def spread(low: int) -> float:
        values = [*ranked[:low], *ranked[len(ranked) - (count - low) :]]
        mean = math.fsum(values) / count
        return math.fsum((value - mean) ** 2 for value in values)

    return max(halves, key=spread)  # the first of equal ones
