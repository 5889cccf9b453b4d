"""The results of a recipe: numbers beside the paper's, verdicts on its claims, and sources.

A report is built from the recipe's folder and its records and from nothing else, then rendered for
a terminal, or as a page (page.py); equal records give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.config import choices
from common.fork import forked_from
from common.results.citation import own_bibtex, paper_bibtex
from common.results.claims import NOT_RUN, PAPER_SCALE, Verdict, judge, load_claims
from common.results.paper import PaperNumber, is_score, load_paper
from common.results.record import load_all, record_id
from common.results.rows import LABELS, Estimate, Row, build_rows, path_of

FEW = 100  # problems: of a smaller benchmark their number stands beside the score
FIGURE = "curves.png"  # below results/<recipe>/<scale>/
ROW_HEAD = "metric | variant | paper | ours (95 % CI) | difference | seeds | scale | records"
VERDICT_HEAD = "claim | verdict | ours (95 % CI) | band | paper | kind | seeds | scale"
SOURCE_HEAD = "id | record | commit | finished | hardware | GPU-hours | config"
PAPER_HEAD = "metric | variant | value | unit | status | source | note"


@dataclass(frozen=True)
class Source:
    """A record that the report is computed from; `path` is relative to results/<recipe>."""

    id: str
    path: str
    commit: str | None
    dirty: bool | None
    finished: str
    hardware: str
    gpu_hours: float
    config_sha256: str

    @property
    def code(self) -> str:
        commit = self.commit[:10] if self.commit else "outside git"
        return f"{commit} + local changes" if self.dirty else commit


@dataclass(frozen=True)
class Report:
    recipe: str
    rows: list[Row]
    verdicts: list[Verdict]
    paper: list[PaperNumber]
    sources: list[Source]
    figures: list[str]
    analyses: list[tuple[str, str]] = field(default_factory=list)  # (page below the folder, title)
    bibtex: str = ""  # the paper's and ours
    forked_from: dict[str, Any] | None = None
    title: str = ""  # of the recipe's README, without its name
    scales: list[str] = field(default_factory=list)  # that are configured

    def as_json(self) -> dict[str, Any]:
        """Plain values for `--json`; an end of an interval without bound is null."""
        verdicts = [asdict(v) | {"verdict": v.text} for v in self.verdicts]
        return finite(asdict(self) | {"verdicts": verdicts})


def told(reports: Iterable[Report]) -> list[Report]:
    """In the order of the alphabet; a fork has nothing to say before its first record."""
    return sorted((r for r in reports if r.sources or not r.forked_from), key=lambda r: r.recipe)


def build_report(recipe: Path, results: Path) -> Report:
    """Everything that is said about one recipe; a fork has its parent's rows beside its own.

    Args: recipe: the recipe's folder; results: the folder `results`, with one folder per recipe.
    Raises: ValueError for a broken record, paper.csv or claims.yaml.
    """
    records = load_all(results / recipe.name)
    paper, claims = load_paper(recipe / "paper.csv"), load_claims(recipe / "claims.yaml")
    origin = forked_from(recipe)
    theirs = load_all(results / origin["recipe"]) if origin else []
    rows: list[Row] = []
    verdicts: list[Verdict] = []
    ran = sorted({r["scale"] for r in records})
    named = {scale for claim in claims for scale in claim.scales or ()}
    for scale in sorted({*ran, *(r["scale"] for r in theirs), PAPER_SCALE, *named}):
        here = [r for r in records if r["scale"] == scale]
        own = build_rows(choices(recipe, "variant"), paper, here, scale)
        rows += beside(own, _parent_rows([r for r in theirs if r["scale"] == scale], paper, scale))
        verdicts += [judge(claim, here, scale) for claim in claims if claim.is_for(scale)]
    figures = [f"{scale}/{FIGURE}" for scale in ran]
    sources = [_source(r) for r in records]
    analyses = [page for scale in ran for page in _analyses(results / recipe.name, scale)]
    commits = sorted({source.code for source in sources})
    ours = own_bibtex(recipe.name, [source.finished for source in sources], commits)
    bibtex = "\n".join(filter(None, (paper_bibtex(recipe), ours)))
    readme = recipe / "README.md"
    heading = readme.read_text(encoding="utf-8").partition("\n")[0] if readme.is_file() else ""
    return Report(
        recipe=recipe.name,
        rows=rows,
        verdicts=verdicts,
        paper=paper,
        sources=sources,
        figures=figures,
        analyses=analyses,
        bibtex=bibtex,
        forked_from=origin,
        title=heading.partition(": ")[2],
        scales=choices(recipe, "scale"),
    )


def _parent_rows(
    records: Sequence[dict[str, Any]], paper: Sequence[PaperNumber], scale: str
) -> list[Row]:
    """What the recipe that this one was forked from has measured, under its name."""
    if not records:
        return []
    name, arms = records[0]["recipe"], sorted({r["variant"] for r in records})
    return [
        replace(
            row,
            variant=f"{row.variant} ({name})",
            records=tuple(f"../{name}/{path}" for path in row.records),
        )
        for row in build_rows(arms, paper, records, scale)
        if row.ours
    ]


def beside(own: Sequence[Row], other: Sequence[Row]) -> list[Row]:
    """The rows of both, metric by metric, own first."""
    keys = dict.fromkeys((row.metric, row.benchmark) for row in (*own, *other))
    both = (*own, *other)
    return [row for key in keys for row in both if (row.metric, row.benchmark) == key]


def _analyses(folder: Path, scale: str) -> list[tuple[str, str]]:
    """The pages of the analyses of one scale, with their titles."""
    pages = sorted((folder / scale / "analysis").glob("*.md"))
    return [
        (
            f"{scale}/analysis/{p.name}",
            p.read_text(encoding="utf-8", errors="replace").partition("\n")[0].lstrip("# "),
        )
        for p in pages
    ]


def render_terminal(report: Report, console: Console) -> None:
    """Print, for each scale that ran, its arms' rows and the verdicts, within 100 columns."""
    ran = {r.scale for r in report.rows if r.ours} | {v.scale for v in report.verdicts if v.seeds}
    for scale in sorted(ran):
        arms = {r.variant for r in report.rows if r.scale == scale and r.ours}
        shown = [r for r in report.rows if r.scale == scale and r.variant in arms]
        rows = [row_cells(r, _records) for r in shown]
        same = ("seeds", "scale", "records", *(() if scale == PAPER_SCALE else ("difference",)))
        _print(console, f"{report.recipe} at {scale}", ROW_HEAD, rows, same)
        verdicts = [v for v in report.verdicts if v.scale == scale]
        if verdicts:
            console.print(f"claims at {scale}", style="italic")
        for verdict in verdicts:
            name, text, ours, band, printed, *_ = verdict_cells(verdict)
            measured = f" (ours {ours}; band {band}; paper {printed})" if verdict.seeds else ""
            console.print(f"- {escape(name)}: [bold]{text}[/bold]{escape(measured)}")
    if not ran:
        console.print(f"{report.recipe}: no record yet")
    if report.sources:
        console.print(f"from {origin(report.sources)}; in full: results/*/README.md")


def _print(
    console: Console, title: str, head: str, lines: Sequence[Sequence[str]], left_out: Sequence[str]
) -> None:
    if not lines:
        return
    names = head.split(" | ")
    kept = [i for i, name in enumerate(names) if name not in left_out]
    table = Table(title=title, title_justify="left")
    for i in kept:
        table.add_column(names[i], overflow="fold", min_width=8)
    for cells in lines:
        table.add_row(*(escape(cells[i]) for i in kept))
    console.print(table)


def row_cells(row: Row, show_records: Any) -> list[str]:
    few = f" ({row.problems} problems)" if 0 < row.problems < FEW else ""
    return [
        metric_text(row.metric, row.benchmark) + few,
        row.variant,
        paper_text(row.paper),
        ours_text(row, row.factor),
        _difference(row),
        seeds_text(row.seeds),
        row.scale,
        show_records(row),
    ]


def metric_text(metric: str, benchmark: str) -> str:
    if is_score(metric):
        return f"{metric}, {benchmark}"
    return LABELS.get(metric, f"`{metric}`")


def paper_text(paper: PaperNumber | None) -> str:
    if paper is None or paper.value is None:
        return "not printed"
    value = f"{paper.value:g}{' %' if paper.factor == 100 else ''}"
    return f"{value} ({paper.status})" if paper.status else value


def ours_text(row: Row, factor: int) -> str:
    return estimate_text(row.ours, factor) if row.ours else row.missing


def estimate_text(ours: Estimate, factor: int = 1) -> str:
    """`0.364 [0.345, 0.384] over problems`."""
    value, unit = f"{ours.value * factor:.4g}", " %" if factor == 100 else ""
    if ours.interval is None:
        return f"{value}{unit}"
    if not np.isfinite(ours.interval).all():
        return f"{value}{unit} (no interval: too few {ours.over})"
    low, high = (f"{end * factor:.3g}" for end in ours.interval)
    return f"{value}{unit} [{low}, {high}] over {ours.over}"


def _difference(row: Row) -> str:
    if row.difference is not None:
        return f"{row.difference:+.4g}"
    comparable = row.paper is not None and row.paper.value is not None and row.ours is not None
    return "other scale" if comparable else "-"


def seeds_text(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} ({', '.join(map(str, seeds))})" if seeds else "0"


def _records(row: Row) -> str:
    return ", ".join(row.records) or "-"


def links(row: Row) -> str:
    pairs = zip(row.seeds, row.records, strict=True)
    return ", ".join(f"[seed {seed}]({path})" for seed, path in pairs) or "-"


def sources_of(report: Report, verdict: Verdict) -> list[Source]:
    """The records that a verdict is computed from."""
    arms = verdict.claim.parsed.arms
    paths = {f"{verdict.scale}/{arm}-seed{seed}.json" for arm in arms for seed in verdict.seeds}
    return [source for source in report.sources if source.path in paths]


def verdict_cells(verdict: Verdict, in_full: bool = False) -> list[str]:
    claim = verdict.claim
    name, informed = f"{claim.id}: {claim.text}", claim.informed_by
    printed = "not printed" if claim.paper.value is None else f"{claim.paper.value:g}"
    if in_full:
        name += f" ({claim.source}{f'; band informed by {informed}' if informed else ''})"
        printed += f" ({claim.paper.note})"
    ours = verdict.note or NOT_RUN
    if verdict.value is not None:
        ours = estimate_text(Estimate(verdict.value, verdict.interval, verdict.over))
    return [
        name,
        verdict.text,
        ours,
        claim.band_text,
        printed,
        claim.kind,
        seeds_text(verdict.seeds),
        verdict.scale,
    ]


def paper_cells(paper: PaperNumber) -> list[str]:
    value = "" if paper.value is None else f"{paper.value:g}"
    metric = metric_text(paper.metric, paper.benchmark)
    return [metric, paper.variant, value, paper.unit, paper.status, paper.source, paper.note]


def source_cells(source: Source) -> list[str]:
    return [
        f"`{source.id}`",
        f"[{source.path}]({source.path})",
        source.code,
        source.finished,
        source.hardware,
        f"{source.gpu_hours:.4g}",
        source.config_sha256[:10],
    ]


def origin(sources: Sequence[Source]) -> str:
    if not sources:
        return "no record yet"
    commits = ", ".join(sorted({s.code for s in sources}))
    return f"{len(sources)} record{'s' if len(sources) > 1 else ''}; code at commit {commits}"


def markdown(head: str, lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; `head` is `a | b | c`."""
    rule = "|" + "---|" * len(head.split(" | "))
    table = [f"| {head} |", rule]
    for cells in lines:
        table.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(table) + "\n"


def _source(record: dict[str, Any]) -> Source:
    provenance = record["provenance"]
    git, machine = provenance["git"], provenance["hardware"]
    gpus = [gpu["name"] for gpu in machine["gpus"]]
    return Source(
        id=record_id(record),
        path=path_of(record),
        commit=git["commit"],
        dirty=git["dirty"],
        finished=provenance["finished"],
        hardware=", ".join(f"{gpus.count(name)} x {name}" for name in dict.fromkeys(gpus))
        or f"{machine['cores']} cores of {machine['cpu']}",
        gpu_hours=record["gpu_hours"],
        config_sha256=record["config_sha256"],
    )


def finite(value: Any) -> Any:
    """The same value with null in place of numbers that JSON has no notation for."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
