"""`python -m common html`: all results as one page that needs nothing but a browser.

Built from the same reports as the pages under results/, the records' curves and the committed
analyses, and from nothing else; equal input gives equal bytes. The page asks no server for
anything, and its Content-Security-Policy forbids it to; what records and recipes say is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup
from PIL import Image

from common.config import ROOT, recipe_folders
from common.results import charts, citation, front, page
from common.results.claims import FAILS, HOLDS, NOT_RUN, UNDECIDED, Verdict, headline_arms
from common.results.record import load_all
from common.results.rows import Row
from common.results.tables import (
    PAPER_HEAD,
    ROW_HEAD,
    Report,
    Source,
    build_report,
    origin,
    paper_cells,
    row_cells,
    sources_of,
    verdict_cells,
)
from common.runs import write_text

OUTPUT = ROOT / "runs" / "report.html"  # runs/ is not in git: the page repeats what results/ says
_INLINE = MarkdownIt("zero").enable("backticks")
_BLOCKS = MarkdownIt("commonmark", {"html": False}).enable("table")
_BLOCKS.disable(["image", "link", "autolink"])  # they would lead out of the page


@dataclass(frozen=True)
class Ours:
    value: str
    interval: str
    over: str


@dataclass(frozen=True)
class Line:
    """A claim at one scale; `note` says what a verdict away from the paper's scale is about."""

    recipe: str
    verdict: Verdict
    note: str
    ours: Ours
    band: str
    drawing: charts.Interval | None
    sources: list[Source]


@dataclass(frozen=True)
class Analysis:
    title: str
    figure: str  # a data URI
    size: tuple[int, int]  # pixels
    body: Markup


@dataclass(frozen=True)
class Number:
    """A row of all numbers; `records`: (seed, id) where the record is one of this page."""

    cells: list[str]
    records: list[tuple[int, str]]


@dataclass(frozen=True)
class Scale:
    """What was measured at one scale."""

    name: str
    tally: str
    measured: str
    short: tuple[bool, list[str], list[list[str]]]
    legend: list[charts.Arm]
    panels: list[charts.Panel]
    analyses: list[Analysis]
    numbers: list[Number]


@dataclass(frozen=True)
class Recipe:
    name: str
    report: Report
    lines: list[Line]
    counts: Counter[str]
    scales: list[Scale]


def write(path: Path) -> Path:
    """Write the page of all recipes of this checkout. Raises: ValueError for a broken record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render(recipe_folders(), ROOT / "results"))
    return path


def render(folders: Sequence[Path], results: Path) -> str:
    """The page; `folders`: the recipes', `results`: the folder with their records."""
    reports = [build_report(folder, results) for folder in folders]
    ids = {f"{r.recipe}/{s.path}": s.id for r in reports for s in r.sources}
    recipes = [_recipe(report, results, ids) for report in reports]
    recipes.sort(key=lambda r: (not r.report.sources, r.name))  # what has results comes first
    sources = [source for report in reports for source in report.sources]
    script = (front.TEMPLATE / "script.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    title, _, subtitle = citation.software()["title"].partition(": ")
    graders = results / "graders.md"
    environment = front.environment()
    environment.filters["code"] = lambda text: Markup(_INLINE.renderInline(str(text)))
    return environment.get_template("report.html").render(
        title=title,
        subtitle=subtitle,
        recipes=recipes,
        scales=sorted({v.scale for report in reports for v in report.verdicts}),
        results=(HOLDS, FAILS, UNDECIDED, NOT_RUN),
        counts=sum((recipe.counts for recipe in recipes), Counter()),
        measured=sum(bool(s.report.sources) for s in recipes),
        sources=sources,
        origin=origin(sources),
        newest=max((s.finished[:10] for s in sources), default=None),
        notes=_blocks(page.NOTES + page.COVERED, 3),
        graders=_page(graders, 3) if graders.is_file() else None,
        number_head=ROW_HEAD.split(" | "),
        paper_head=PAPER_HEAD.split(" | "),
        paper_cells=paper_cells,
        interval_width=charts.WIDTH,
        style=Markup((front.TEMPLATE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_sha256=digest,
    )


def _recipe(report: Report, results: Path, ids: dict[str, str]) -> Recipe:
    records = load_all(results / report.recipe)
    ran = {source.path.partition("/")[0] for source in report.sources}
    lines = [_line(report, verdict) for verdict in report.verdicts]
    return Recipe(
        name=report.recipe,
        report=report,
        lines=lines,
        counts=Counter(v.result for v in report.verdicts if v.scale in ran),
        scales=[_scale(report, scale, records, results, ids) for scale in page.ran(report)],
    )


def _line(report: Report, verdict: Verdict) -> Line:
    _, text, ours, band, *_ = verdict_cells(verdict)
    value, _, interval = ours.partition(" ") if verdict.value is not None else ("-", "", ours)
    interval, _, over = interval.partition(" over ")
    seeds = f"{len(verdict.seeds)} seed{'s' if len(verdict.seeds) > 1 else ''}"
    if "seeds" in over:
        over = over.replace("seeds", seeds)
    else:
        over = f"{over}, {seeds}" if over else seeds
    return Line(
        recipe=report.recipe,
        verdict=verdict,
        note=text.removesuffix(verdict.result).rstrip(": "),
        ours=Ours(value, interval, over),
        band=band,
        drawing=charts.interval(verdict),
        sources=sources_of(report, verdict),
    )


def _scale(
    report: Report, scale: str, records: list[dict[str, Any]], results: Path, ids: dict[str, str]
) -> Scale:
    here = [record for record in records if record["scale"] == scale]
    rows = [row for row in report.rows if row.scale == scale and (row.ours or row.paper)]
    headline = headline_arms([v.claim for v in report.verdicts])
    legend, panels = charts.curves(here, headline) if here else ([], [])
    return Scale(
        name=scale,
        tally=page.tally([v for v in report.verdicts if v.scale == scale]),
        measured=page.measured(report, scale),
        short=page.in_short(report, scale),
        legend=legend,
        panels=panels,
        analyses=[
            _analysis(results / report.recipe / file, title)
            for file, title in report.analyses
            if file.startswith(f"{scale}/")
        ],
        numbers=[Number(row_cells(row, lambda _: "")[:-1], _ids(row, report, ids)) for row in rows],
    )


def _ids(row: Row, report: Report, ids: dict[str, str]) -> list[tuple[int, str]]:
    """The rows of a fork's parent name records beside its own folder."""
    paths = [
        path.removeprefix("../") if path.startswith("../") else f"{report.recipe}/{path}"
        for path in row.records
    ]
    return [(s, ids[p]) for s, p in zip(row.seeds, paths, strict=True) if p in ids]


def _page(file: Path, level: int) -> Markup:
    """A generated page without its title and its pictures."""
    text = file.read_text(encoding="utf-8")
    text = text.partition("\n")[2] if text.startswith("# ") else text
    return _blocks(re.sub(r"(?m)^!\[.*\]\(.*\)$", "", text), level)


def _analysis(file: Path, title: str) -> Analysis:
    drawn = file.with_suffix(".png")
    with Image.open(drawn) as picture:
        size = picture.size
    figure = f"data:image/png;base64,{base64.b64encode(drawn.read_bytes()).decode()}"
    return Analysis(title, figure, size, _page(file, 5))


def _blocks(text: str, level: int) -> Markup:
    """Markdown of a generated page: its `##` become headings of `level`, its tables scroll."""
    made = _BLOCKS.render(text)
    made = re.sub(r"(</?h)([2-6])>", lambda m: f"{m[1]}{min(6, int(m[2]) + level - 2)}>", made)
    scroll = '<div class="scroll" tabindex="0" role="region" aria-label="table">'
    return Markup(made.replace("<table>", f"{scroll}<table>").replace("</table>", "</table></div>"))
