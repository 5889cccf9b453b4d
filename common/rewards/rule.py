"""verl's reward function: the data source of a row chooses the grader.

A recipe names it in `reward.custom_reward_function` (`path: pkg://common.rewards.rule`, `name:
compute_score`) with `reward_kwargs: {grader: <name>}`, or, for several sources in one batch,
`reward_kwargs: {graders: {<data source>: <name>, ...}}`. Training and evaluation use the same code.

Where a reward model scores some of the sources, the function is `name: route`, and `reward_kwargs`
has `neural` too (fields of `common.rewards.neural.Neural`). A grader of such a source is paid
nothing: it says `acc`, so that a policy which pleases the model alone is seen. `scales: {<data
source>: {mean, std}}` puts the scores of a source on a common scale: (score - mean) / std. What
each source's scores are, the sampler reports (`group/<data source>/score`, `spread`); a row then
says `raw_score` as well.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from common.rewards import workers
from common.rewards.registry import get_grader
from common.rewards.verdict import Grader, Outcome
from common.schema import build

if TYPE_CHECKING:
    from common.rewards.neural import Neural

KEY = "reward.custom_reward_function"
PATH, NAME, ROUTE = "pkg://common.rewards.rule", "compute_score", "route"


def compute_score(
    data_source: str,
    solution_str: str | None,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    grader: str | None = None,
    graders: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """The reward of one response and what is logged beside it; see `Rules.score`."""
    rules = _rules(grader, tuple((graders or {}).items()))
    return rules.score(data_source, solution_str, ground_truth, extra_info)


async def route(
    data_source: str,
    solution_str: str | None,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **reward_kwargs: Any,
) -> dict[str, float | None]:
    """The same where a reward model has a part: its scores are waited for, the event loop goes on.

    Raises: as `Rules.score`; ServiceError when the service stays away for longer than it may.
    """
    rules = _routes(json.dumps(reward_kwargs, default=_plain))
    return await rules.route(data_source, solution_str, ground_truth, extra_info)


@dataclass(frozen=True)
class Scale:
    """Of the scores of one source: what becomes 0, and what becomes 1 away from it."""

    mean: float
    std: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 < self.std < math.inf):
            raise ValueError(f"mean={self.mean}, std={self.std}: finite numbers, std above 0")


class Rules:
    """Which grader grades which data source: `only` all of them, or each the one in `by_source`.
    `neural`: the sources that a reward model scores; `scales`: by source.

    Raises: ValueError for an unknown grader, when not exactly one of the two is given, or when a
    source has a scale and no branch.
    """

    def __init__(
        self,
        only: str | None,
        by_source: Mapping[str, str],
        by_model: Neural | None = None,
        scales: Mapping[str, Scale] | None = None,
    ) -> None:
        if (only is None) == (not by_source) and not (by_model and only is None):
            raise ValueError("set exactly one of grader and graders")
        if by_model and only:
            raise ValueError("set graders, not grader, beside neural")
        self.only, self.by_source = only, dict(by_source)
        self.neural, self.scales = by_model, dict(scales or {})
        names = sorted({only} if only else set(by_source.values()))
        self.graders: dict[str, Grader] = {name: get_grader(name) for name in names}
        self.metrics = sorted({key for g in self.graders.values() for key in g.metrics})
        self.scored = frozenset(by_model.sources if by_model else ())
        self.ungraded = self.scored - set(by_source)  # by a reward model alone
        for source in set(self.scales) - self.scored - set(by_source) if only is None else ():
            raise ValueError(f"scales.{source}: nothing scores this data source")

    @staticmethod
    def of(function: Mapping[str, Any]) -> Rules:
        """The rules of verl's `reward.custom_reward_function`.

        Raises: ValueError, naming the key, for another function or a wrong grader.
        """
        kwargs = dict(function.get("reward_kwargs") or {})
        wanted = ROUTE if kwargs.get("neural") else NAME
        if (function["path"], function["name"]) not in ((PATH, wanted), (PATH, ROUTE)):
            raise ValueError(
                f"{KEY}: path={function['path']} name={function['name']}: set {PATH} and {wanted}; "
                "a rule of your own is a Grader, reward_kwargs.grader=<module>:<name>"
            )
        unknown = set(kwargs) - {"grader", "graders", "neural", "scales"}
        if unknown:
            raise ValueError(f"{KEY}.reward_kwargs.{min(unknown)}: unknown key")
        if kwargs.get("scales") and function["name"] != ROUTE:
            raise ValueError(f"{KEY}.name={function['name']}: only {ROUTE} reads scales; set it")
        try:
            return Rules.made(**kwargs)
        except ValueError as error:
            prefix = "" if str(error).startswith(KEY) else f"{KEY}.reward_kwargs: "
            raise ValueError(f"{prefix}{error}") from None

    @staticmethod
    def made(
        grader: str | None = None,
        graders: Mapping[str, str] | None = None,
        neural: Mapping[str, Any] | None = None,
        scales: Mapping[str, Any] | None = None,
    ) -> Rules:
        """The rules of `reward_kwargs`. Raises: ValueError."""
        where = f"{KEY}.reward_kwargs.scales"
        scaled = {k: build(Scale, dict(v), f"{where}.{k}") for k, v in (scales or {}).items()}
        return Rules(grader, graders or {}, _neural(neural) if neural else None, scaled)

    def score(
        self, source: str, response: str | None, gold: Any, extra: Mapping[str, Any] | None
    ) -> dict[str, float]:
        """`score`, on the grader's own scale; `acc` and `ungradable`, 0 or 1, both 0 for a wrong
        answer; then the graders' metrics. Every row has the same keys, NaN at the metrics of
        other sources. `extra` holds what the grader `needs`. A reward model's source gets what its
        grader says, where it has one.

        Raises: ValueError, in one line, for a source without a grader, or where the grader refuses
        `gold` or lacks a key of `extra`; never for any `response`.
        """
        if source in self.ungraded:
            raise ValueError(
                f"data source {source!r} is scored by a reward model, in training alone; give the "
                "benchmark a grader of its own"
            )
        name = self._name(source)
        row = {"response": response, "gold": gold}
        row |= {key: extra[key] for key in self.graders[name].needs if extra and key in extra}
        verdict = workers.grade(name, row)
        return (
            self._scaled(source, float(verdict.score))
            | {
                "acc": float(verdict.outcome is Outcome.CORRECT),
                "ungradable": float(verdict.outcome is Outcome.UNGRADABLE),
            }
            | {key: float(verdict.details.get(key, math.nan)) for key in self.metrics}
        )

    async def route(
        self, source: str, response: str | None, gold: Any, extra: Mapping[str, Any] | None
    ) -> dict[str, float | None]:
        """`score`, of the reward model where it is the branch of `source`. Without a grader of that
        source `acc` is None, for which verl takes the reward in its place, and all metrics are NaN.

        Raises: as `score`, and ServiceError.
        """
        judged: dict[str, float | None]
        if source in self.ungraded:
            judged = {"acc": None, "ungradable": 0.0} | dict.fromkeys(self.metrics, math.nan)
        else:
            judged = dict(await asyncio.to_thread(self.score, source, response, gold, extra))
        if self.neural is None or source not in self.scored:
            return judged
        return judged | self._scaled(source, await self.neural.score(response, extra))

    def _scaled(self, source: str, score: float) -> dict[str, float]:
        if not self.scales:
            return {"score": score}
        scale = self.scales.get(source, Scale(0.0, 1.0))
        return {"score": (score - scale.mean) / scale.std, "raw_score": score}

    def check(self, rows: Iterable[Mapping[str, Any]], where: str) -> None:
        """Grade no response at all to the first row of each data source, so that a fault of the
        data is known before anything is trained; of a reward model's source, look for the prompt.

        Raises: ValueError, in one line that begins with `where`.
        """
        first: dict[str, Mapping[str, Any]] = {}
        for row in rows:
            first.setdefault(row["data_source"], row)
        for source, row in first.items():
            try:
                if self.neural and source in self.scored:
                    self.neural.prompt(row["extra_info"])
                if source not in self.ungraded:
                    self.score(source, None, row["reward_model"]["ground_truth"], row["extra_info"])
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None

    def _name(self, source: str) -> str:
        name = self.only or self.by_source.get(source)
        if name is None:
            raise ValueError(
                f"data source {source!r} has no grader (there: {', '.join(self.by_source)}); add "
                f"it to {KEY}.reward_kwargs.graders"
            )
        return name


def _neural(values: Mapping[str, Any]) -> Neural:
    from common.rewards import neural  # its client is nobody's else

    made: Neural = build(neural.Neural, dict(values), neural.KEY)
    return made


@lru_cache
def _rules(only: str | None, by_source: tuple[tuple[str, str], ...]) -> Rules:
    return Rules(only, dict(by_source))


def _plain(value: Any) -> Any:
    from omegaconf import OmegaConf  # verl hands its mappings on

    return OmegaConf.to_container(value, resolve=True)


@lru_cache
def _routes(kwargs: str) -> Rules:
    return Rules.made(**json.loads(kwargs))
