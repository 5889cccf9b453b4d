"""The runs that an analysis reads: their records, and their graded responses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import ROOT, choices, recipe_folder, split_words
from common.results.provenance import sha256_json
from common.results.record import BASE, load, load_all
from common.results.rows import BEFORE_RL
from common.runs import read_json, relative
from common.schema import suggest
from data.parquet import PROMPT_COLUMNS, read_parquet

RESULTS = ROOT / "results"
RUNS = ROOT / "runs"
AFTER, BEFORE = "evaluate", "evaluate_base"  # stages: the trained model, the model before RL
FIELDS = ("id", "sample", "response", "reward", "accuracy")


@dataclass(frozen=True)
class Run:
    """`folder` lies below runs/ and may be gone; `record` is None where responses were asked for.
    `command` makes the run."""

    variant: str
    seed: int
    folder: Path
    command: str
    record: dict[str, Any] | None

    @property
    def name(self) -> str:
        return f"{self.variant} seed {self.seed}"

    @property
    def arm(self) -> str:
        """The variant as the command line names it, without the hash of overrides."""
        return self.variant.partition("+")[0]

    @property
    def base(self) -> str:
        """What tells its model before RL from others."""
        if self.record is None:
            return str((self.folder / BEFORE).resolve())
        return sha256_json({k: v for k, v in self.problems.items() if k.endswith(BASE)})

    @property
    def problems(self) -> dict[str, dict[str, Any]]:
        """Counts by benchmark; `<name>@base`: those of the model before RL."""
        assert self.record is not None
        return self.record["problems"]


@dataclass(frozen=True)
class Selection:
    """Runs of one recipe at one scale, the folder for what is made of them, and the recipe's."""

    recipe: str
    scale: str
    runs: list[Run]
    output: Path
    folder: Path | None = None

    @property
    def arms(self) -> dict[str, list[Run]]:
        """Variant -> its runs, one a seed."""
        names = dict.fromkeys(r.variant for r in self.runs)
        return {v: [r for r in self.runs if r.variant == v] for v in names}

    @property
    def bases(self) -> dict[str, list[Run]]:
        """The models before RL: one where all arms share it, and one run a seed stands for it."""
        first: dict[int, Run] = {}
        for run in self.runs:
            if first.setdefault(run.seed, run).base != run.base:
                return {f"{BEFORE_RL}, {arm}": runs for arm, runs in self.arms.items()}
        return {BEFORE_RL: [first[seed] for seed in sorted(first)]}

    @property
    def models(self) -> list[tuple[str, str, list[Run]]]:
        """(name, stage that evaluated it, runs) of every model: before RL, then the arms."""
        before = [(name, BEFORE, runs) for name, runs in self.bases.items()]
        return before + [(name, AFTER, runs) for name, runs in self.arms.items()]


def select(recipe: str, words: list[str], responses: bool) -> list[Selection]:
    """The runs that the words ask for, one selection a scale (micro when none is named).

    Without `variant=` and `seed=` all of them; with overrides those of that command line. What is
    made from all published runs belongs below results/, anything else below runs/.

    Args: responses: find runs with saved responses instead of records.
    Raises: ValueError naming what is missing and the command that makes it.
    """
    folder = recipe_folder(recipe)
    reserved, overrides = split_words(words)
    for group in ("scale", "variant"):
        known = choices(folder, group)
        for name in reserved.get(group, []):
            if name not in known:
                raise ValueError(f"{group}={name}: {folder.name} has none{suggest(name, known)}")
    found = []
    for scale in reserved.get("scale", ["micro"]):
        published = _published(folder.name, scale)
        runs = _with_responses(folder.name, scale) if responses else published
        if overrides:
            runs = _with_overrides(folder, scale, words, responses)
        runs = _asked(folder.name, scale, runs, reserved, responses)
        have = {r.name for r in runs}
        whole = bool(published) and all(r.name in have for r in published)
        output = (RESULTS if whole else RUNS) / folder.name / scale / "analysis"
        found.append(Selection(folder.name, scale, runs, output, folder))
    return found


def _run(recipe: str, scale: str, variant: str, seed: int, record: Any = None) -> Run:
    folder = RUNS / recipe / scale / variant / f"seed{seed}"
    words = f"{recipe} scale={scale} variant={variant} seed={seed}"
    return Run(variant, seed, folder, f"python -m common run {words}", record)


def _published(recipe: str, scale: str) -> list[Run]:
    records = [r for r in load_all(RESULTS / recipe) if r["scale"] == scale]
    return [_run(recipe, scale, r["variant"], r["seed"], r) for r in records]


def _with_responses(recipe: str, scale: str) -> list[Run]:
    paths = (RUNS / recipe / scale).glob(f"*/seed*/{AFTER}/result.json")
    places = sorted((p.parts[-4], int(p.parts[-3].removeprefix("seed"))) for p in paths)
    return [_run(recipe, scale, v, s) for v, s in places if "+" not in v]


def _with_overrides(folder: Path, scale: str, words: list[str], responses: bool) -> list[Run]:
    from common.pipeline import plan  # composes the configurations, which takes seconds

    words = [*(w for w in words if not w.startswith("scale=")), f"scale={scale}"]
    command = f"python -m common run {folder.name} {' '.join(words)}"
    runs = []
    for planned in plan(str(folder), words, require_machine=False):
        path = planned.run_dir / "record" / "record.json"
        if not path.exists():
            raise ValueError(f"{relative(path)}: no record; `{command}` makes it")
        record = None if responses else load(path)
        runs.append(Run(planned.label, planned.seed, planned.run_dir, command, record))
    return runs


def _asked(
    recipe: str, scale: str, runs: list[Run], reserved: dict[str, list[str]], responses: bool
) -> list[Run]:
    """The runs with the named variants and seeds, each of which there must be."""
    variants = reserved.get("variant", [])
    seeds = [int(s) for s in reserved.get("seed", [])]
    named: list[str | None] = list(variants) if variants else [None]
    numbered: list[int | None] = list(seeds) if seeds else [None]
    for variant in named:
        for seed in numbered:
            if not any(variant in (None, r.arm) and seed in (None, r.seed) for r in runs):
                words = f"{recipe} scale={scale}"
                words += "" if variant is None else f" variant={variant}"
                words += "" if seed is None else f" seed={seed}"
                what = "saved responses" if responses else "record"
                raise ValueError(f"{words}: no {what}; `python -m common run {words}` makes it")
    return [
        r for r in runs if (not variants or r.arm in variants) and (not seeds or r.seed in seeds)
    ]


def saved_benchmarks(run: Run, wanted: Sequence[str]) -> list[str]:
    """The benchmarks with saved responses of a run: all, or the wanted ones.

    Raises: ValueError naming one that the run does not have.
    """
    known = sorted(read_json(run.folder / AFTER / "result.json"))
    for name in wanted:
        if name not in known:
            raise ValueError(f"{run.name} has no benchmark {name!r} (there: {', '.join(known)})")
    return list(wanted) or known


def read_responses(run: Run, stage: str, benchmark: str) -> Iterator[dict[str, Any]]:
    """The graded responses of one benchmark, in the order in which they were saved.

    Raises: ValueError naming file and mend, when there is none or one without `FIELDS`.
    """
    path = run.folder / stage / f"{benchmark}.jsonl"
    mend = f"`{run.command}` makes it again"
    if not path.exists():
        raise ValueError(f"{relative(path)}: no saved responses; {mend}")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                missing = [f for f in FIELDS if f not in row]
            except (ValueError, TypeError):
                row, missing = {}, ["JSON"]
            if missing:
                what = f"line {number} has no {missing[0]}"
                raise ValueError(f"{relative(path)}: {what}; delete its folder, {mend}")
            yield row


def problems(run: Run, stage: str, benchmark: str) -> dict[str, dict[str, Any]]:
    """The rows of a benchmark's data file by problem id."""
    spec = read_json(run.folder / stage / "spec.json")
    rows = read_parquet(Path(spec["benchmarks"][benchmark]["file"]), PROMPT_COLUMNS)
    return {str(row["extra_info"].get("index", i)): row for i, row in enumerate(rows)}
