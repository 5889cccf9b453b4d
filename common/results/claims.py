"""Claims of a paper, written before the results, and their verdicts from records.

`claims.yaml` is a list of

    - id: clip_fraction
      text: GSPO clips about two orders of magnitude more tokens than GRPO
      kind: mechanism              # or outcome
      source: "paper sec 5.2, Figure 2"
      informed_by: pilot           # or null: what was known when the band was written
      paper: {value: 115, note: "0.15 over 0.0013"}   # value null where none is printed
      expression: "mean(gspo, 'actor/pg_clipfrac') / mean(grpo, 'actor/pg_clipfrac')"
      band: [10, null]             # the claim holds inside; null is no limit
      scales: [node8]              # optional: the scales that have what the expression measures
      headline: true               # optional: one of the few that results/README.md lists

A mechanism is judged at every scale. An outcome (which method ends higher) is judged against the
paper at the paper's scales only, those called node8 or node8_...; elsewhere the verdict is on the
analogue at that scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from common.config import choices
from common.results import statistics
from common.results.expression import Expression, Measurement, parse
from common.results.record import detail, entropies, estimates, response_tokens
from common.results.statistics import Interval
from common.schema import build, suggest

PAPER_SCALE = "node8"
KINDS = ("mechanism", "outcome")
HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "fails", "undecided", "not run"


@dataclass(frozen=True)
class Printed:
    """What the paper prints for the expression: null where it prints no number."""

    value: float | None
    note: str


@dataclass(frozen=True)
class Claim:
    id: str
    text: str
    kind: str
    source: str
    informed_by: str | None
    paper: Printed
    expression: str
    band: list[float | None]
    scales: list[str] | None = None
    headline: bool = False

    def is_for(self, scale: str) -> bool:
        """Whether a scale can have what the claim measures."""
        return self.scales is None or scale in self.scales

    @cached_property
    def parsed(self) -> Expression:
        try:
            return parse(self.expression)
        except ValueError as error:
            raise ValueError(f"claim {self.id}: {error}") from None

    @property
    def limits(self) -> Interval:
        low, high = self.band
        return -np.inf if low is None else low, np.inf if high is None else high

    @property
    def band_text(self) -> str:
        low, high = self.band
        if low is None or high is None:
            return f"at most {high:g}" if low is None else f"at least {low:g}"
        return f"{low:g} to {high:g}"


@dataclass(frozen=True)
class Verdict:
    """`result` is holds, fails, undecided or not run; `over` says what the interval is over."""

    claim: Claim
    scale: str
    result: str
    value: float | None = None
    interval: Interval | None = None
    over: str = ""
    seeds: tuple[int, ...] = ()
    note: str = ""

    @property
    def text(self) -> str:
        """As printed: an outcome away from the paper's scale does not judge the paper."""
        paper = self.scale.startswith(PAPER_SCALE)
        if self.claim.kind == "mechanism" or paper or self.result == NOT_RUN:
            return self.result
        return f"paper: not tested at paper scale; {self.scale} analogue: {self.result}"


def load_claims(path: Path) -> list[Claim]:
    """The claims of a recipe, in the file's order; arms and scales are checked against
    `variant/` and `scale/` beside it.

    Raises: ValueError, in one line naming the claim, for anything that is not as described above.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name}: no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path.name}: write a list of claims")
    claims: list[Claim] = []
    for i, entry in enumerate(entries):
        name = entry.get("id", f"number {i + 1}") if isinstance(entry, dict) else f"number {i + 1}"
        claim = build(Claim, entry, f"{path.name}: claim {name}")
        _check(claim, path.parent)
        if claim.id in [c.id for c in claims]:
            raise ValueError(f"claim {claim.id}: occurs twice in {path.name}; ids are unique")
        claims.append(claim)
    return claims


def headline_arms(claims: Sequence[Claim]) -> set[str]:
    """The arms that the headline claims measure."""
    return {arm for claim in claims if claim.headline for arm in claim.parsed.arms}


def _check(claim: Claim, folder: Path) -> None:
    if claim.kind not in KINDS:
        raise ValueError(f"claim {claim.id}: kind {claim.kind!r}; write {' or '.join(KINDS)}")
    if len(claim.band) != 2 or claim.band == [None, None] or claim.limits[0] > claim.limits[1]:
        raise ValueError(f"claim {claim.id}: band {claim.band}; write [low, high], one may be null")
    for what, names, known in (
        ("arm", claim.parsed.arms, choices(folder, "variant")),
        ("scale", claim.scales or (), choices(folder, "scale")),
    ):
        for name in names:
            if name not in known:
                raise ValueError(
                    f"claim {claim.id}: unknown {what} {name!r}; there is {', '.join(known)}"
                    f"{suggest(name, known)}"
                )


def judge(claim: Claim, records: Sequence[dict[str, Any]], scale: str) -> Verdict:
    """The verdict on a claim from the records of one scale.

    The expression is evaluated per seed, on the seeds for which all its arms have a record.
    Two seeds or more: Student t over the per-seed values; when the expression's top node is a
    division and all values are positive, on their logarithms (value: the geometric mean), so that
    the interval of a ratio cannot reach below zero. One seed: 2,000 bootstrap resamples of problems
    (the same for all arms) and of blocks of steps (the same for curves of one length). The result
    is `holds` when the interval lies inside the band, `fails` when outside, else `undecided`.

    Raises: ValueError naming the claim for a metric or benchmark that a record does not have.
    """
    expression = claim.parsed
    runs = {(r["variant"], r["seed"]): r for r in records if r["scale"] == scale}
    common = [{seed for arm, seed in runs if arm == wanted} for wanted in expression.arms]
    seeds = tuple(sorted(set.intersection(*common)))
    if not seeds:
        return Verdict(claim, scale, NOT_RUN)
    units = [
        {m: _units(claim, m, runs[m.arm, seed]) for m in expression.measurements} for seed in seeds
    ]
    values = [float(expression.value({m: u.mean for m, u in one.items()})) for one in units]
    if not np.isfinite(values).all():
        note = f"per seed {', '.join(map(str, values))}: a division by zero or a log of it"
        return Verdict(claim, scale, UNDECIDED, seeds=seeds, note=note)
    if len(seeds) == 1:
        value, (interval, over) = values[0], _within_seed(expression, units[0])
    elif expression.ratio and min(values) > 0:
        value = float(np.exp(np.mean(np.log(values))))
        low, high = statistics.seed_interval(np.log(values).tolist())
        interval, over = (float(np.exp(low)), float(np.exp(high))), "seeds, log scale"
    else:
        value, over = float(np.mean(values)), "seeds"
        interval = statistics.seed_interval(values)
    return Verdict(claim, scale, _result(interval, claim.limits), value, interval, over, seeds)


def _result(interval: Interval, band: Interval) -> str:
    if band[0] <= interval[0] and interval[1] <= band[1]:
        return HOLDS
    if interval[1] < band[0] or band[1] < interval[0]:
        return FAILS
    return UNDECIDED


@dataclass(frozen=True)
class _Units:
    """What a measurement is the mean of: one value per problem (with its id) or per logged step."""

    values: np.ndarray
    ids: tuple[str, ...] | None

    @property
    def mean(self) -> np.float64:
        return self.values.mean()

    @property
    def independent(self) -> float:
        size = self.values.size
        return size if self.ids else size / statistics.block_length(size)

    def resampled_means(self) -> np.ndarray:
        rows = (
            statistics.problem_resamples(self.ids)
            if self.ids
            else statistics.step_resamples(self.values.size)
        )
        return self.values[rows].mean(axis=1)


def _within_seed(expression: Expression, units: dict[Measurement, _Units]) -> tuple[Interval, str]:
    samples = expression.value({m: u.resampled_means() for m, u in units.items()})
    interval = statistics.percentile_interval(samples, min(u.independent for u in units.values()))
    over = sorted({"problems" if u.ids else "steps" for u in units.values()})
    return interval, " and ".join(over)


def _units(claim: Claim, measurement: Measurement, record: dict[str, Any]) -> _Units:
    where = f"claim {claim.id}: {record['variant']} seed {record['seed']} ({record['scale']})"
    name, k = measurement.name, measurement.k
    if measurement.function in ("mean", "first", "final"):
        curves = record["curves"]["metrics"]
        logged = [v for v in curves.get(name, []) if v is not None]
        if not logged:
            raise ValueError(f"{where} has not logged metric {name!r}{suggest(name, curves)}")
        if measurement.function != "mean":
            if k > len(logged):
                raise ValueError(f"{where} logged {len(logged)} values of {name!r}, fewer than {k}")
            logged = logged[:k] if measurement.function == "first" else logged[-k:]
        return _Units(np.array(logged, dtype=float), None)
    if measurement.function == "detail":
        name, _, kept = name.rpartition("/")
    problems = record["problems"].get(name)
    if problems is None:
        raise ValueError(f"{where} has no benchmark {name!r}{suggest(name, record['problems'])}")
    fewest = min(problems["n"])
    if k > fewest:
        raise ValueError(f"{where} has {fewest} samples a problem of {name!r}, fewer than {k}")
    order = np.argsort(problems["id"])
    ids = tuple(problems["id"][i] for i in order)
    if measurement.function == "tokens":
        if not problems.get("t"):
            raise ValueError(f"{where} has not counted the tokens of {name!r}")
        return _Units(response_tokens(problems)[order], ids)
    if measurement.function == "entropy":
        if not problems.get("h"):
            raise ValueError(f"{where} has not summed the log-probabilities of {name!r}")
        return _Units(entropies(problems)[order], ids)
    if measurement.function == "detail":
        known = problems.get("d") or {}
        if kept not in known:
            raise ValueError(f"{where} has not kept {kept!r} of {name!r}{suggest(kept, known)}")
        return _Units(detail(problems, kept)[order], ids)
    return _Units(estimates(problems, k)[order], ids)
