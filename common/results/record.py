"""The record of one run: a JSON file from which every published number is computed.

The dataclasses below are the schema (version 1); a record in memory is the plain dictionary.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from common.evaluation.elo import elo_rating
from common.evaluation.pass_at_k import pass_at_k
from common.health import STATES, WARNED, Health
from common.results import seal
from common.results.provenance import sha256_json
from common.results.statistics import mean_interval, seed_interval
from common.runs import write_json
from common.schema import build

SCHEMA = 1
BASE = "@base"  # `test@base`: the model before RL on the problems of `test`


@dataclass(frozen=True)
class Metric:
    """Mean over problems, its 95 % interval, and the number of problems."""

    mean: float
    ci95: list[float]
    n: int


@dataclass(frozen=True)
class Problems:
    """Per problem: id, samples drawn, samples correct. Lists of one length.

    `u`: samples that no verdict was reached on, none of them correct; null where there are none.
    `t`: tokens of all samples of the problem; null in records from before they were counted.
    `r`: the problems' Elo ratings; null where they have none. `h`: minus the log-probability of all
    tokens of the problem's samples, nats; null where they were not drawn at temperature 1 from all
    tokens, and in records from before it was summed. `d`: by metric of the grader, its sum over
    the problem's samples; null where the benchmark names no `details`.
    """

    id: list[str]
    n: list[int]
    c: list[int]
    u: list[int] | None = None
    t: list[int] | None = None
    r: list[float] | None = None
    h: list[float] | None = None
    d: dict[str, list[float]] | None = None


@dataclass(frozen=True)
class Curves:
    """Logged steps, increasing; per metric one value a step, null where it was not logged."""

    steps: list[int]
    metrics: dict[str, list[float | None]]


@dataclass(frozen=True)
class Git:
    """Null outside a git checkout; `diff_sha256` also when the tree is clean."""

    commit: str | None
    dirty: bool | None
    diff_sha256: str | None


@dataclass(frozen=True)
class Lock:
    file: str
    sha256: str


@dataclass(frozen=True)
class Hardware:
    cpu: str
    cores: int
    memory_gb: float
    gpus: list[dict[str, Any]]


@dataclass(frozen=True)
class Provenance:
    """`started` and `finished` are ISO 8601 in UTC."""

    git: Git
    packages: dict[str, str]
    lock: Lock
    hardware: Hardware
    started: str
    finished: str


@dataclass(frozen=True)
class DataFile:
    """`prompts`: sha256 by name of the prompt templates that its rows were rendered with."""

    rows: int
    sha256: str
    prompts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Grader:
    name: str
    version: str


@dataclass(frozen=True)
class Tokens:
    prompt: int
    response: int


@dataclass(frozen=True)
class Record:
    schema: int
    recipe: str
    scale: str
    variant: str
    seed: int
    argv: list[str]
    overrides: list[str]
    config: dict[str, Any]
    config_sha256: str
    forked_from: dict[str, Any] | None
    provenance: Provenance
    data: dict[str, DataFile]
    prompt_template_sha256: str
    grader: Grader
    wall_time_s: dict[str, float]
    tokens: Tokens
    gpu_hours: float
    resumes: list[dict[str, Any]]
    metrics: dict[str, Metric]
    problems: dict[str, Problems]
    curves: Curves
    health: dict[str, Health] | None = None  # by sign; null in records from before it was watched
    sha256: str | None = None  # of all the rest; set by `write`


def record_id(record: dict[str, Any]) -> str:
    """The first ten digits of its seal: other numbers, another id."""
    return str(record.get(seal.KEY) or seal.digest(record))[:10]


def estimates(problems: dict[str, Any], k: int) -> np.ndarray:
    """(P,) pass@k of each problem of one benchmark; k = 1 is the accuracy c / n (avg@n)."""
    return pass_at_k(problems["n"], problems["c"], k)


def response_tokens(problems: dict[str, Any]) -> np.ndarray:
    """(P,) mean number of tokens of each problem's responses."""
    return np.asarray(problems["t"], dtype=float) / np.asarray(problems["n"])


def entropies(problems: dict[str, Any]) -> np.ndarray:
    """(P,) minus the mean log-probability of each problem's sampled tokens, nats: an estimate of
    the policy's entropy a token."""
    return np.asarray(problems["h"]) / np.maximum(1, problems["t"])


def detail(problems: dict[str, Any], name: str) -> np.ndarray:
    """(P,) mean over each problem's responses of a metric of the grader."""
    return np.asarray(problems["d"][name], dtype=float) / np.asarray(problems["n"])


def compute_metrics(problems: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`<benchmark>/accuracy` and `<benchmark>/pass@k`, k the powers of two up to the least n.

    Accuracy is avg@n: the mean over problems of c / n. The interval is over problems. Where some
    samples are ungradable, `<benchmark>/ungradable` is their share, by the same formula. Where
    tokens were counted, `<benchmark>/response_tokens` is their mean (Student's t over problems),
    and where their log-probabilities were summed, `<benchmark>/entropy` is that of `entropies`;
    likewise `<benchmark>/<name>` of each of the grader's metrics that were summed.
    Where problems have ratings, `<benchmark>/elo` is the contestant's (common/evaluation/elo.py).
    """
    metrics = {}
    for name, counts in problems.items():
        powers = [2**i for i in range(min(counts["n"]).bit_length())]
        values = {"accuracy": estimates(counts, 1)}
        values |= {f"pass@{k}": estimates(counts, k) for k in powers}
        if counts.get("u"):
            values["ungradable"] = estimates(counts | {"c": counts["u"]}, 1)
        for label, values_P in values.items():
            metrics[f"{name}/{label}"] = {
                "mean": float(values_P.mean()),
                "ci95": list(mean_interval(values_P)),
                "n": len(values_P),
            }
        unbounded = {"response_tokens": response_tokens(counts)} if counts.get("t") else {}
        unbounded |= {"entropy": entropies(counts)} if counts.get("h") else {}
        unbounded |= {name: detail(counts, name) for name in counts.get("d") or ()}
        for label, values_P in unbounded.items():
            mean = float(values_P.mean())
            interval = seed_interval(values_P.tolist()) if len(values_P) > 1 else (mean, mean)
            metrics[f"{name}/{label}"] = {"mean": mean, "ci95": list(interval), "n": len(values_P)}
        if counts.get("r"):
            rating, low, high = elo_rating(counts["r"], counts["n"], counts["c"])
            metrics[f"{name}/elo"] = {"mean": rating, "ci95": [low, high], "n": len(counts["r"])}
    return metrics


def validate(record: dict[str, Any]) -> None:
    """Raise ValueError, in one line, unless `record` is a whole and consistent record.

    Checked: the schema; hashes, times and names by their form; counts; curves; that
    `config_sha256` is the config's, that every metric which `problems` determine is the one
    they give, and that a seal is the content's, so that an edited number is found.
    """
    where = "record"
    if record.get("schema") != SCHEMA:
        _refuse(where, "schema", f"{record.get('schema')!r}; this code reads version {SCHEMA}")
    parsed = build(Record, json.loads(_strict_json(record)), where)
    for key, text, form in _forms(parsed):
        if not re.fullmatch(form, text):
            _refuse(where, key, f"{text!r} has not the form {form}")
    for key, number in _counts(parsed):
        if number < 0:
            _refuse(where, key, f"{number} is negative")
    if any("step" not in resume for resume in parsed.resumes):
        _refuse(where, "resumes", "every entry names the `step` it went on from")
    for name, counts in parsed.problems.items():
        _check_counts(f"{where}.problems.{name}", counts)
    _check_curves(f"{where}.curves", parsed.curves)
    for sign, found in (parsed.health or {}).items():
        if found.state not in STATES or bool(found.warnings) != (found.state == WARNED):
            _refuse(where, f"health.{sign}", f"{found.state!r}, {len(found.warnings)} warnings")
    if sha256_json(record["config"]) != parsed.config_sha256:
        _refuse(where, "config_sha256", "is not the hash of `config`; the file was edited")
    for name, metric in parsed.metrics.items():
        if len(metric.ci95) != 2 or not metric.ci95[0] <= metric.mean <= metric.ci95[1]:
            _refuse(where, f"metrics.{name}", "ci95 is [low, high] around the mean")
    for name, expected in compute_metrics(record["problems"]).items():
        _check_metric(f"{where}.metrics.{name}", parsed.metrics.get(name), Metric(**expected))
    if parsed.sha256 is not None:  # a record in memory has none yet
        try:
            seal.check(record)
        except ValueError as error:
            raise ValueError(f"{where}.{error}") from None


def write(record: dict[str, Any], path: Path) -> None:
    """Validate, seal and write indented JSON with sorted keys; readers see the old file or the new.

    Raises: ValueError as `validate` does; nothing is written then.
    """
    record = seal.sealed(record)
    validate(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


def load(path: Path) -> dict[str, Any]:
    """A validated record. Raises: ValueError naming the file when it is broken or edited."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("holds no JSON object")
        validate(record)
    except ValueError as error:
        raise ValueError(
            f"{'/'.join(path.parts[-4:])}: {error}; restore the file, or run again to rewrite it"
        ) from None
    return record


def record_path(folder: Path, record: dict[str, Any]) -> Path:
    """Where a record belongs below `folder` (= results/<recipe>)."""
    return folder / record["scale"] / f"{record['variant']}-seed{record['seed']}.json"


def load_all(folder: Path) -> list[dict[str, Any]]:
    """The records below `folder` (= results/<recipe>), sorted by scale, variant and seed.

    Raises: ValueError naming a file that is broken, lies in another run's place, or holds a run
    with overrides (those are not published).
    """
    records = []
    for path in record_files(folder):
        record = load(path)
        try:
            check_place(folder, path, record)
        except ValueError as error:
            raise ValueError(f"{'/'.join(path.parts[-3:])}: {error}") from None
        records.append(record)
    return in_order(records)


def in_order(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(records, key=lambda r: (r["scale"], r["variant"], r["seed"]))


def record_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*-seed*.json"))


def check_place(folder: Path, path: Path, record: dict[str, Any]) -> None:
    """Raise ValueError for a record in another run's place, or of a run with overrides."""
    if record["recipe"] != folder.name or record_path(folder, record) != path:
        raise ValueError(
            f"holds {record['recipe']}/{record['scale']}/{record['variant']} seed "
            f"{record['seed']}; move it to that place"
        )
    if record["overrides"]:
        raise ValueError(
            f"a run with overrides ({', '.join(record['overrides'])}) is not published; "
            "remove the file"
        )


def _strict_json(record: dict[str, Any]) -> str:
    try:
        return json.dumps(record, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"record: not JSON ({error}); write null for a missing value") from None


def _refuse(where: str, key: str, what: str) -> NoReturn:
    raise ValueError(f"{where}.{key}: {what}")


def _forms(record: Record) -> Iterator[tuple[str, str, str]]:
    """(key, text, regular expression it must match) of every text with a fixed form."""
    sha, word = r"[0-9a-f]{64}", r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"
    for key in ("recipe", "scale", "variant"):
        yield key, getattr(record, key), word
    for key in ("config_sha256", "prompt_template_sha256"):
        yield key, getattr(record, key), sha
    for key in ("started", "finished"):
        yield f"provenance.{key}", getattr(record.provenance, key), time
    yield "provenance.lock.sha256", record.provenance.lock.sha256, sha
    git = record.provenance.git
    if git.commit is not None:
        yield "provenance.git.commit", git.commit, r"[0-9a-f]{40}"
    if git.diff_sha256 is not None:
        yield "provenance.git.diff_sha256", git.diff_sha256, sha
    for name, file in record.data.items():
        yield f"data.{name}.sha256", file.sha256, sha
        for template, digest in file.prompts.items():
            yield f"data.{name}.prompts.{template}", digest, sha


def _counts(record: Record) -> Iterator[tuple[str, float]]:
    yield "seed", record.seed
    yield "gpu_hours", record.gpu_hours
    yield "tokens.prompt", record.tokens.prompt
    yield "tokens.response", record.tokens.response
    for name, file in record.data.items():
        yield f"data.{name}.rows", file.rows
    for stage, seconds in record.wall_time_s.items():
        yield f"wall_time_s.{stage}", seconds


def _check_counts(where: str, counts: Problems) -> None:
    given = (counts.n, counts.c, counts.u, counts.t, counts.r, counts.h)
    lists = [values or [0] * len(counts.id) for values in given]
    lists += (counts.d or {}).values()
    if not counts.id or any(len(values) != len(counts.id) for values in lists):
        raise ValueError(f"{where}: id, n, c, u, t, r, h, d: lists of one length, at least 1")
    _, _, u, t, *_ = lists
    if min(t) < 0:
        raise ValueError(f"{where}.t: {min(t)} is negative")
    if len(set(counts.id)) < len(counts.id):
        raise ValueError(f"{where}.id: a problem occurs twice; ids are unique")
    for problem, n, c, none in zip(counts.id, counts.n, counts.c, u, strict=True):
        if n < 1 or c < 0 or none < 0 or c + none > n:
            raise ValueError(
                f"{where}: problem {problem} has c={c} and u={none} of n={n}; 0 <= c + u <= n"
            )


def _check_curves(where: str, curves: Curves) -> None:
    if any(b <= a for a, b in zip(curves.steps, curves.steps[1:], strict=False)):
        raise ValueError(f"{where}.steps: steps increase, each once")
    for name, values in curves.metrics.items():
        if len(values) != len(curves.steps):
            raise ValueError(
                f"{where}.metrics.{name}: {len(values)} values for {len(curves.steps)} steps; "
                "write null where a step has none"
            )


def _check_metric(where: str, found: Metric | None, expected: Metric) -> None:
    if found is None:
        raise ValueError(f"{where}: missing; fill `metrics` with compute_metrics(problems)")
    same = zip((found.mean, *found.ci95), (expected.mean, *expected.ci95), strict=True)
    # a rating is the root of an equation: another version of scipy may end a little beside it
    near = {"rel_tol": 1e-6} if where.endswith("/elo") else {"abs_tol": 1e-9}
    if found.n != expected.n or not all(math.isclose(a, b, **near) for a, b in same):
        raise ValueError(
            f"{where}: says {found.mean} {found.ci95} over {found.n} problems, `problems` give "
            f"{expected.mean} {expected.ci95} over {expected.n}; the file was edited"
        )
