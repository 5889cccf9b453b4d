"""Signs of an unhealthy training, watched step by step; the limits stand in `health.yaml`.

The same code watches a run while it trains and reads the curves of a record afterwards.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from common.schema import build

FILE = Path(__file__).with_suffix(".yaml")
NOT_FINITE = "not_finite"
KINDS = {
    NOT_FINITE: "is not finite",
    "above": "is above {limit:g}",
    "above_median": "is above {limit:g} times its median and above {floor:g}",
    "below_start": "is below {limit:g} of its start",
    "above_start": "is above {limit:g} times its start",
    "below_best": "is below {limit:g} of its best, which is above {floor:g}",
}
WARNED, HEALTHY, TOO_FEW, NOT_LOGGED = "warned", "healthy", "too few steps", "not logged"
STATES = (WARNED, HEALTHY, TOO_FEW, NOT_LOGGED)


@dataclass(frozen=True)
class Limit:
    """One threshold of a sign; the fields are explained in `health.yaml`."""

    metrics: list[str]
    kind: str
    source: str
    limit: float = 0.0
    floor: float = -math.inf
    after: int = 0
    mean_of: int = 1
    running: int = 1
    mend: str = ""

    @property
    def text(self) -> str:
        """`is above 0.25 in 5 steps running`."""
        said = KINDS[self.kind].format(limit=self.limit, floor=self.floor)
        said += f" (mean of {self.mean_of})" if self.mean_of > 1 else ""
        return said + (f" in {self.running} steps running" if self.running > 1 else "")


@dataclass(frozen=True)
class Sign:
    """`mend`: what to do where a limit has no mend of its own."""

    about: str
    limits: list[Limit]
    mend: str = ""


@dataclass(frozen=True)
class Warned:
    """A limit that a metric broke. `first`: the first such step; `steps`: how many there were;
    `worst`: the value furthest beyond, null where it was not finite."""

    metric: str
    limit: str
    source: str
    first: int
    steps: int
    worst: float | None


@dataclass(frozen=True)
class Health:
    """Of one sign over a run. `state`: one of `STATES`; `logged`: steps with one of its metrics."""

    state: str
    logged: int
    warnings: list[Warned] = field(default_factory=list)


@lru_cache
def signs() -> dict[str, Sign]:
    """The signs of `health.yaml`, by name. Raises: ValueError for a key or kind that is unknown."""
    values = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    found = {name: build(Sign, value, name) for name, value in values.items()}
    for name, sign in found.items():
        for limit in sign.limits:
            if limit.kind not in KINDS or limit.source not in ("article", "ours"):
                raise ValueError(f"{FILE.name}: {name}: {limit.kind} ({limit.source}) is unknown")
    return found


class _Series:
    """The values of one metric as one limit sees them."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.judged = False  # whether there were enough values to say anything
        self.broken: list[tuple[int, float]] = []  # (step, value) beyond the limit
        self._values: list[float] = []
        self._sorted: list[float] = []
        self._best = -math.inf
        self._run = 0

    def see(self, step: int, value: float) -> bool:
        """Whether the limit is broken at this step."""
        limit = self.limit
        if limit.kind == NOT_FINITE or not math.isfinite(value):
            found = limit.kind == NOT_FINITE and not math.isfinite(value)
            self.judged |= limit.kind == NOT_FINITE
        else:
            self._values.append(value)
            value = fmean(self._values[-limit.mean_of :])
            self._run = self._run + 1 if self._beyond(value) else 0
            found = self._run >= limit.running
            bisect.insort(self._sorted, self._values[-1])
            if len(self._values) >= limit.mean_of:
                self._best = max(self._best, value)
        if found:
            self.broken.append((step, value))
        return found

    def _beyond(self, value: float) -> bool:
        """`value` is the mean of the last values, the last one included."""
        limit, count = self.limit, len(self._values)
        needed = {
            "above": limit.running,
            "above_median": limit.after + 1,
            "below_best": limit.mean_of + 1,
        }
        self.judged |= count >= needed.get(limit.kind, 2 * limit.mean_of)
        if limit.kind == "above":
            return value > limit.limit
        if not self.judged:
            return False
        if limit.kind == "above_median":
            return value > max(limit.floor, limit.limit * self._median())
        if limit.kind == "below_best":
            return self._best > limit.floor and value < limit.limit * self._best
        start = fmean(self._values[: limit.mean_of])
        below = limit.kind == "below_start"
        return value < limit.limit * start if below else value > limit.limit * start

    def _median(self) -> float:
        """Of the values before the last."""
        middle = len(self._sorted) // 2
        low = self._sorted[middle if len(self._sorted) % 2 else middle - 1]
        return (low + self._sorted[middle]) / 2

    def worst(self) -> float | None:
        values = [value for _, value in self.broken]
        if not all(map(math.isfinite, values)):
            return None
        return min(values) if self.limit.kind.startswith("below") else max(values)


class Watch:
    """Watches the signs of one run; a sign is said once, at the first step that shows it.

    `longest`: the limit of a response in tokens (`data.max_response_length`).
    """

    def __init__(self, longest: int | None = None) -> None:
        self._longest = longest
        self._series: dict[tuple[str, int, str], _Series] = {}
        self._logged = dict.fromkeys(signs(), 0)
        self._said: set[str] = set()

    def see(self, step: int, data: dict[str, Any]) -> list[str]:
        """One line for each sign that shows now and has not before, with the mend."""
        data = data | _derived(data, self._longest)
        lines = []
        for name, sign in signs().items():
            seen = [
                (limit, key, metric)
                for key, limit in enumerate(sign.limits)
                for metric in _metrics(limit, data)
            ]
            self._logged[name] += bool(seen)
            for limit, key, metric in seen:
                series = self._series.setdefault((name, key, metric), _Series(limit))
                if series.see(step, data[metric]) and name not in self._said:
                    self._said.add(name)
                    value, mend = series.broken[-1][1], limit.mend or sign.mend
                    lines.append(
                        f"{name} at step {step}: {metric} {value:.4g} {limit.text} "
                        f"({limit.source}); {mend}"
                    )
        return lines

    def summary(self) -> dict[str, Health]:
        """What there was to see so far, by sign."""
        return {name: self._health(name) for name in signs()}

    def _health(self, name: str) -> Health:
        own = [(k[2], series) for k, series in self._series.items() if k[0] == name]
        warnings = [
            Warned(metric, s.limit.text, s.limit.source, s.broken[0][0], len(s.broken), s.worst())
            for metric, s in own
            if s.broken
        ]
        if not own:
            return Health(NOT_LOGGED, 0)
        judged = HEALTHY if any(s.judged for _, s in own) else TOO_FEW
        return Health(WARNED if warnings else judged, self._logged[name], warnings)

    def line(self) -> str:
        """All signs on one line."""
        return "; ".join(f"{name} {text(found)}" for name, found in self.summary().items())


def text(found: Health) -> str:
    """`healthy`, or `since step 12, in 28`."""
    if not found.warnings:
        return found.state
    steps = max(warning.steps for warning in found.warnings)
    return f"since step {min(w.first for w in found.warnings)}, in {steps}"


def of_record(record: dict[str, Any]) -> dict[str, Health]:
    """A record's curves by today's limits.

    Curves have null for a value that was not finite, as for one that was not logged: what was not
    finite is said by the record's own summary, where it has one.
    """
    curves = record["curves"]
    watch = Watch(record["config"].get("data", {}).get("max_response_length"))
    for i, step in enumerate(curves["steps"]):
        logged = {name: values[i] for name, values in curves["metrics"].items()}
        watch.see(step, {name: value for name, value in logged.items() if value is not None})
    found = watch.summary()
    for name, own in (record.get("health") or {}).items():
        kept = [w for w in build(Health, own, name).warnings if w.limit == KINDS[NOT_FINITE]]
        if kept and name in found:
            found[name] = Health(WARNED, found[name].logged, [*kept, *found[name].warnings])
    return found


def as_json(found: dict[str, Health]) -> dict[str, Any]:
    return {name: asdict(health) for name, health in found.items()}


def _metrics(limit: Limit, data: dict[str, Any]) -> Iterator[str]:
    """The metrics of the step that a limit judges."""
    for wanted in limit.metrics:
        names = [name for name in data if fnmatch(name, wanted)] if "*" in wanted else [wanted]
        found = [name for name in names if name in data]
        if found:
            yield from found
            return


def _derived(data: dict[str, Any], longest: int | None) -> dict[str, float]:
    """What `health.yaml` judges and nobody logs."""
    found = {}
    if {"group/all_correct", "group/none_correct"} <= set(data):
        found["group/all_or_none_correct"] = data["group/all_correct"] + data["group/none_correct"]
    if longest and {"response_length/clip_ratio", "response_length/max"} <= set(data):
        reached = data["response_length/max"] >= longest
        found["response_length/clipped"] = data["response_length/clip_ratio"] if reached else 0.0
    return found
