"""Rows of the results table: one metric of one arm at one scale, the paper's number beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.results import statistics
from common.results.claims import NOT_RUN, PAPER_SCALE
from common.results.paper import PaperNumber, is_score
from common.results.provenance import sha256_json
from common.results.record import BASE
from common.results.statistics import Interval

LEARNING_RATE = "actor_rollout_ref.actor.optim.lr"
LABELS = {  # the rows that every recipe has beside its scores, where its runs log them
    "actor/pg_clipfrac": "clip fraction",
    "actor/token_log_ratio_var": "variance of token log-ratios",
    "actor/sequence_log_ratio_var": "variance of sequence log-ratios",
    "actor/routing_changed/update_1": "experts changed by one update",
    "response_length/mean": "response length (tokens)",
    "wall_time_s": "wall time (s, all stages)",
    LEARNING_RATE: "learning rate",
}
SETTING = "configuration"
BEFORE_RL = "before RL"


@dataclass(frozen=True)
class Estimate:
    """`over`: what the interval is over (`seeds`; within one seed `problems` or `steps`)."""

    value: float
    interval: Interval | None
    over: str


@dataclass(frozen=True)
class Row:
    """`missing` says why there is no `ours`; `difference` is ours - paper in the paper's unit;
    `problems`: of the benchmark of `ours`, 0 where there is none."""

    metric: str
    benchmark: str
    variant: str
    scale: str
    paper: PaperNumber | None
    ours: Estimate | None
    missing: str
    difference: float | None
    seeds: tuple[int, ...]
    records: tuple[str, ...]
    problems: int = 0

    @property
    def factor(self) -> int:
        """What `ours` is multiplied with where the paper's number is printed beside it."""
        return self.paper.factor if self.paper else 1


def build_rows(
    arms: Sequence[str], paper: Sequence[PaperNumber], records: Sequence[dict[str, Any]], scale: str
) -> list[Row]:
    """The rows of one scale: what its records measured, and at the paper's scale all of `paper`.

    Elsewhere the paper's numbers stand beside ours for the recipe's own arms only.

    Raises: ValueError for seeds of one arm whose settings differ.
    """
    printed = {(p.metric, p.benchmark, p.variant): p for p in paper}
    groups = _bases(records) | {arm: [r for r in records if r["variant"] == arm] for arm in arms}
    rows = []
    for metric, benchmark in _keys(paper, records):
        measured = any(measure(r, metric, benchmark) for r in records)
        if not measured and scale != PAPER_SCALE:
            continue
        shown = [g for g in groups if is_score(metric) or g in arms] if measured else []
        listed = [p.variant for p in paper if (p.metric, p.benchmark) == (metric, benchmark)]
        if scale != PAPER_SCALE:  # the paper's other models are nobody's arms
            listed = [variant for variant in listed if variant in (*arms, *groups)]
        for variant in dict.fromkeys([*shown, *listed]):
            group = groups.get(variant, [])
            before_rl = is_score(metric) and variant not in arms
            name = benchmark + BASE if before_rl else benchmark
            found = [(r, e) for r in group if (e := measure(r, metric, name))]
            number = printed.get((metric, benchmark, variant))
            where = f"{variant} at {scale}: {metric}"
            share = metric not in ("response_tokens", "entropy", "elo")
            ours = _over_seeds([e for _, e in found], where, share)
            rows.append(
                Row(
                    metric=metric,
                    benchmark=benchmark,
                    variant=variant,
                    scale=scale,
                    paper=number,
                    ours=ours,
                    missing="" if found else "not measured" if group else NOT_RUN,
                    difference=_difference(ours, number) if scale == PAPER_SCALE else None,
                    seeds=tuple(r["seed"] for r, _ in found),
                    records=tuple(path_of(r) for r, _ in found),
                    problems=max((_problems(r, metric, name) for r, _ in found), default=0),
                )
            )
    return rows


def measure(record: dict[str, Any], metric: str, benchmark: str) -> Estimate | None:
    """One number of one record, with its interval within the seed; None when it has none."""
    if is_score(metric):
        found = record["metrics"].get(f"{benchmark}/{metric}")
        if metric == "ungradable" and not found and f"{benchmark}/accuracy" in record["metrics"]:
            return Estimate(0.0, (0.0, 0.0), "problems")  # a record has the share where it is not 0
        return Estimate(found["mean"], tuple(found["ci95"]), "problems") if found else None
    if metric == "wall_time_s":
        return Estimate(float(sum(record["wall_time_s"].values())), None, "")
    curve = [v for v in record["curves"]["metrics"].get(metric, []) if v is not None]
    if curve:
        return Estimate(float(np.mean(curve)), statistics.curve_interval(curve), "steps")
    value: Any = record["config"]
    for part in metric.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return Estimate(float(value), None, SETTING) if isinstance(value, int | float) else None


def _problems(record: dict[str, Any], metric: str, benchmark: str) -> int:
    found = record["metrics"].get(f"{benchmark}/{metric}")
    return int(found["n"]) if found else 0


def path_of(record: dict[str, Any]) -> str:
    """The record's path relative to results/<recipe>."""
    return f"{record['scale']}/{record['variant']}-seed{record['seed']}.json"


def _over_seeds(found: Sequence[Estimate], where: str, share: bool) -> Estimate | None:
    if len(found) < 2:
        return found[0] if found else None
    values = [e.value for e in found]
    if found[0].over == SETTING:
        if len(set(values)) > 1:
            raise ValueError(f"{where} differs between seeds ({values}); run them all again alike")
        return found[0]
    low, high = statistics.seed_interval(values)
    if found[0].over == "problems" and share:  # Student's t knows nothing of a share's limits
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(float(np.mean(values)), (low, high), "seeds")


def _difference(ours: Estimate | None, paper: PaperNumber | None) -> float | None:
    if ours is None or paper is None or paper.value is None:
        return None
    return ours.value * paper.factor - paper.value


def _keys(paper: Sequence[PaperNumber], records: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(metric, benchmark) of every row, in the order of the table."""
    names = {name.rpartition("/") for record in records for name in record["metrics"]}
    scores = {
        (benchmark.removesuffix(BASE), int(metric.partition("@")[2] or 0), metric)
        for benchmark, _, metric in names
        if is_score(metric) and metric != "pass@1"  # by definition the accuracy
    }
    keys = [(metric, benchmark) for benchmark, _, metric in sorted(scores)]
    keys += [(metric, "") for metric in LABELS] + [(p.metric, p.benchmark) for p in paper]
    return list(dict.fromkeys(keys))


def _bases(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The models before RL, one record a seed: one for all arms where they share it."""
    measured = [r for r in records if any(name.endswith(BASE) for name in r["problems"])]
    first: dict[int, dict[str, Any]] = {}
    for record in measured:
        if _base_counts(first.setdefault(record["seed"], record)) != _base_counts(record):
            arms = dict.fromkeys(r["variant"] for r in measured)
            return {f"{BEFORE_RL}, {a}": [r for r in measured if r["variant"] == a] for a in arms}
    return {BEFORE_RL: list(first.values())} if measured else {}


def _base_counts(record: dict[str, Any]) -> str:
    return sha256_json({k: v for k, v in record["problems"].items() if k.endswith(BASE)})
