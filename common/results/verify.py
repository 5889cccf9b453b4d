"""`python -m common verify`: do the committed results say what was measured?

From the counts of every problem in the records, all means and intervals are computed again, and
from the records the pages, the verdicts, the index and the analyses with their paired tests; what
has no source but the run itself (counts, curves, sweeps) is held against the seal it carries.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from common.analysis import command
from common.config import ROOT
from common.results import front, index, plots, record, seal
from common.results.page import render_markdown
from common.results.provenance import committed_versions, sha256_file
from common.results.tables import FIGURE, Report, build_report, finite
from common.runs import json_text, relative

SWEEP = re.compile(r"sweep-\w+\.json")
GRADERS = ("graders.json", "graders.md", "graders_judged.yaml")
NEAR = 30  # characters shown on both sides of the first difference of two lines


@dataclass(frozen=True)
class Fault:
    """`found` and `expected` are as they would be shown; `mend`: what to do."""

    file: str
    key: str
    found: str
    expected: str
    mend: str

    @property
    def line(self) -> str:
        return f"{self.file}: {self.key}: found {self.found}, expected {self.expected}; {self.mend}"


@dataclass
class Checked:
    """What was looked at for one recipe (or the folder of all), and what was wrong."""

    name: str
    faults: list[Fault] = field(default_factory=list)
    records: int = 0
    metrics: int = 0
    verdicts: int = 0
    analyses: int = 0
    pages: int = 0
    hashes: int = 0

    @property
    def line(self) -> str:
        if self.faults:
            return f"{self.name}: {len(self.faults)} wrong"
        counts = {
            "records": self.records,
            "means and intervals": self.metrics,
            "verdicts": self.verdicts,
            "analyses": self.analyses,
            "pages": self.pages,
            "hashes": self.hashes,
        }
        looked = ", ".join(f"{number} {noun}" for noun, number in counts.items() if number)
        return f"{self.name}: " + (f"as committed ({looked})" if looked else "no record yet")

    def text(self, path: Path, expected: str, mend: str) -> None:
        """Hold a page against what it is computed to be."""
        self.pages += 1
        found = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        self.faults += [
            Fault(relative(path), f"line {number}", a, b, mend)
            for number, a, b in first_difference(found, expected)
        ]

    def sealed(self, path: Path) -> dict[str, Any] | None:
        """The values of a sealed JSON file, None when it was edited."""
        mend = "restore the file, or make it again"
        try:
            text = path.read_text(encoding="utf-8")
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError("no JSON object")
            found = seal.digest(values)
        except ValueError as error:
            self.faults.append(Fault(relative(path), "JSON", str(error), "a JSON object", mend))
            return None
        if seal.KEY not in values:
            mend = "make it again: only the command that measures writes one"
            self.faults.append(Fault(relative(path), seal.KEY, "none", "that of its content", mend))
            return None
        self.hashes += 1
        expected = values[seal.KEY]
        if found == expected and text == json_text(values):
            return values
        good = next((v for v in committed_versions(ROOT, path) if _whole(v)), None)
        named = next(differences(values, good), None) if good else None
        if named:
            self.faults.append(Fault(relative(path), *named, mend))
        elif found == expected:  # a digit beyond what a number holds, or the form
            self.text(path, json_text(values), mend)
        else:
            what = f"content with {found}"
            self.faults.append(Fault(relative(path), seal.KEY, what, expected, mend))
        return None


def _whole(values: Any) -> bool:
    return isinstance(values, dict) and values.get(seal.KEY) == seal.digest(values)


def verify(recipe: Path, results: Path) -> Checked:
    """Everything below `results/<recipe>`."""
    return _verify(recipe, results)[0]


def _verify(recipe: Path, results: Path) -> tuple[Checked, Report | None]:
    """What `verify` finds, and the report that its pages were held against."""
    folder = results / recipe.name
    checked = Checked(recipe.name)
    paths = record.record_files(folder)
    records = [r for path in paths if (r := _record(checked, folder, path))]
    for path in _files(folder):
        if SWEEP.fullmatch(path.name) and path.parent == folder:
            checked.sealed(path)
        elif not _known(folder, path, paths):
            mend = "remove the file"
            checked.faults.append(Fault(relative(path), "file", "it", "no such file", mend))
    if checked.faults:  # what is computed from broken records says nothing
        return checked, None
    checked.records = len(records)
    report = build_report(recipe, results)
    checked.verdicts = sum(bool(v.seeds) for v in report.verdicts)
    for scale in dict.fromkeys(r["scale"] for r in records):
        here = [r for r in records if r["scale"] == scale]
        _figure(checked, folder / scale / FIGURE, plots.drawn_from(here), recipe.name)
    for path in sorted(folder.glob("*/analysis/*.json")):
        _analysis(checked, recipe.name, path)
    table = f"`python -m common table {recipe.name}` writes it again"
    if records or (folder / "README.md").exists():
        checked.text(folder / "README.md", render_markdown(report), table)
    return checked, report


def verify_all(recipes: list[Path], results: Path) -> Iterator[Checked]:
    """Every recipe, then what stands beside their folders: the index, the graders' page, and the
    front page."""
    reports: list[Report] = []
    for recipe in recipes:
        checked, report = _verify(recipe, results)
        yield checked
        if report and not checked.faults:
            reports.append(report)
    beside = Checked(results.name)
    names = [r.name for r in recipes]
    known = (*names, *GRADERS, "README.md", front.PICTURE)
    for path in sorted(results.iterdir()):
        if path.name not in known and not path.name.startswith("."):
            mend = "remove it, or restore recipes/"
            found = Fault(relative(path), "folder", "it", f"one of {', '.join(names)}", mend)
            beside.faults.append(found)
    if (results / GRADERS[0]).exists():
        _graders(beside, results)
    if len(reports) == len(recipes):
        mend = "`python -m common table` writes it again"
        beside.text(results / "README.md", index.render(reports), mend)
        beside.text(results / front.PICTURE, front.picture(reports), mend)
        readme = results.with_name("README.md")
        if readme.is_file():
            written = front.filled(readme.read_text(encoding="utf-8"), reports)
            beside.text(readme, written, mend)
    yield beside


def _record(checked: Checked, folder: Path, path: Path) -> dict[str, Any] | None:
    values = checked.sealed(path)
    if values is None:
        return None
    mend = "restore the file, or run again to rewrite it"
    try:
        record.validate(values)
    except ValueError as error:
        key, _, what = str(error).removeprefix("record.").partition(": ")
        checked.faults.append(Fault(relative(path), key, what, "what its counts give", mend))
        return None
    try:
        record.check_place(folder, path, values)
    except ValueError as error:
        found = Fault(relative(path), "record", str(error), "the record of this run", mend)
        checked.faults.append(found)
        return None
    checked.metrics += len(record.compute_metrics(values["problems"]))
    checked.hashes += 1  # of the configuration
    return values


def _figure(checked: Checked, path: Path, expected: str, recipe: str) -> None:
    found = plots.source_of(path)
    checked.hashes += 1
    if found != expected:
        pairs = first_difference(found, expected)
        _, a, b = next(iter(pairs))
        mend = f"`python -m common plot {recipe}` draws it again"
        checked.faults.append(Fault(relative(path), "records", a, b, mend))


def _analysis(checked: Checked, recipe: str, path: Path) -> None:
    """An analysis of records is computed again; one of saved responses has its seal and hashes."""
    values = checked.sealed(path)
    if values is None:
        return
    mend = f"`{values['command']}` writes it again"
    for name, expected in values["files"].items():
        file = path.with_name(name)
        found = sha256_file(file) if file.is_file() else "no file"
        checked.hashes += 1
        if found != expected:
            checked.faults.append(Fault(relative(file), "sha256", found, expected, mend))
            return
    if command.ANALYSES[path.stem][1]:
        return
    try:
        made = list(command.again(path, values["command"]))
    except ValueError as error:
        wanted = f"analyse {path.stem} {recipe}"
        checked.faults.append(Fault(relative(path), "command", str(error), wanted, mend))
        return
    for analysis in made:
        renewed = json.loads(json_text(finite(analysis.values)))
        for key, found, expected in differences(values["values"], renewed, "values"):
            checked.faults.append(Fault(relative(path), key, found, expected, mend))
            return
        checked.text(path.with_suffix(".md"), analysis.page(), mend)
        checked.analyses += 1


def _graders(checked: Checked, results: Path) -> None:
    from benchmarks.graders import page

    report, written, judged = (results / name for name in GRADERS)
    values = checked.sealed(report)
    if values is not None:
        text = page.render(values, yaml.safe_load(judged.read_text(encoding="utf-8")))
        checked.text(written, text, "`python -m benchmarks.graders` writes it again")


def _files(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if not path.name.startswith("."))


def _known(folder: Path, path: Path, records: list[Path]) -> bool:
    """Whether a file below results/<recipe> is one that a command writes."""
    ran = {file.parent.name for file in records}
    match path.relative_to(folder).parts:
        case ("README.md",):
            return True
        case (scale, name):
            return path in records or (name == FIGURE and scale in ran)
        case (scale, "analysis", name) if scale in ran:
            stem, _, suffix = name.partition(".")
            beside = path.with_name(f"{stem}.json").is_file()  # which has their hashes
            return stem in command.ANALYSES and suffix in ("json", "md", "png") and beside
    return False


def first_difference(found: str, expected: str) -> list[tuple[int, str, str]]:
    """At most one (line number, found, expected): the first line that differs, cut to the place."""
    if found == expected:
        return []
    a, b = ([*text.splitlines(), "the end of the file"] for text in (found, expected))
    number = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    if number is None:
        return [(min(len(a), len(b)), "other line ends", "those of the program")]
    x, y = a[number], b[number]
    same = next((i for i, (p, q) in enumerate(zip(x, y, strict=False)) if p != q), None)
    at = min(len(x), len(y)) if same is None else same
    cut = [f"{t[max(0, at - NEAR) : at + NEAR]!r}" for t in (x, y)]
    return [(number + 1, cut[0], cut[1])]


def differences(found: Any, expected: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, found, expected) of all values that differ by more than rounding; not of seals."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in dict.fromkeys([*expected, *found]):
            if key or name != seal.KEY:
                below = f"{key}.{name}" if key else str(name)
                a, b = (d.get(name, "nothing") for d in (found, expected))
                yield from differences(a, b, below)
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            yield from differences(a, b, f"{key}[{i}]")
    elif found != expected and not _close(found, expected):
        yield key, _short(found), _short(expected)


def _close(a: Any, b: Any) -> bool:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b))
    return numbers and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 2 * NEAR else f"{text[: 2 * NEAR]}..."
