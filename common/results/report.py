"""After a run, or on demand: the table, the verdicts, the page and the figures of a recipe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from common.analysis import command
from common.analysis.report import publish as publish_analysis
from common.config import ROOT, RunConfig, recipe_folders
from common.console import say
from common.results import front, index
from common.results.claims import headline_arms, load_claims
from common.results.page import render_markdown
from common.results.paper import load_paper
from common.results.plots import plot_recipe
from common.results.record import load, load_all, record_files
from common.results.rows import build_rows
from common.results.tables import (
    FIGURE,
    Report,
    build_report,
    render_terminal,
)
from common.runs import read_json, relative, write_text

RESULTS = ROOT / "results"


def after_run(runs: list[RunConfig], written: list[Path], as_json: bool) -> None:
    """Show what the runs of one command gave; write page and figures when any was published."""
    published = all(run.published for run in runs)
    show_report(publish(runs[0].folder) if published else private_report(runs, written), as_json)


def private_report(runs: list[RunConfig], written: list[Path]) -> Report:
    """The rows of runs with overrides, which are never published and decide no claim."""
    folder = runs[0].folder
    records = [load(path) for path in written]
    paper = load_paper(folder / "paper.csv")
    rows = [
        row
        for scale in sorted({r["scale"] for r in records})
        for row in build_rows(
            sorted({r["variant"] for r in records if r["scale"] == scale}),
            [p for p in paper if p.variant in {r["variant"] for r in records}],
            [r for r in records if r["scale"] == scale],
            scale,
        )
    ]
    return Report(f"{folder.name} (with overrides, not published)", rows, [], [], [], [])


def publish_all() -> list[Report]:
    """Every page and figure again, and the index: after records came from elsewhere."""
    recorded = [f for f in recipe_folders() if record_files(RESULTS / f.name)]
    reports = [_publish(folder) for folder in recorded]
    write_index(reports)
    return reports


def show(folder: Path, verb: str, as_json: bool) -> None:
    """`table`, `claims` or `plot` from the committed records."""
    if verb == "claims":
        show_report(replace(build_report(folder, RESULTS), rows=[]), as_json)
    elif verb == "plot":
        for path in draw(folder):
            say(f"figure: {relative(path)}")
    else:
        show_report(publish(folder), as_json)


def publish(folder: Path) -> Report:
    """Write the page and the figures of a recipe from its records; returns the report."""
    report = _publish(folder)
    write_index([report])
    return report


def _publish(folder: Path) -> Report:
    for path in sorted((RESULTS / folder.name).glob("*/analysis/*.json")):
        renew(path)
    report, page = write_page(folder, RESULTS)
    figures = ", ".join(relative(path) for path in draw(folder))
    say(f"page: {relative(page)}; figures: {figures or 'none'}")
    return report


def renew(path: Path) -> None:
    """Make a published analysis of records again: it shall be of the records that are there."""
    if command.ANALYSES[path.stem][1]:  # of saved responses, which may be gone
        return
    try:
        for analysis in command.again(path, read_json(path)["command"]):
            publish_analysis(analysis, path.parent, quiet=True)
    except ValueError as error:
        say(f"warning: {relative(path)} is not of these records: {error}")


def write_index(made: list[Report]) -> None:
    """Write results/README.md and the front page; `made`: the reports that are there."""
    known = {report.recipe: report for report in made}
    reports = [known.get(f.name) or build_report(f, RESULTS) for f in recipe_folders()]
    write_text(RESULTS / "README.md", index.render(reports))
    write_text(RESULTS / front.PICTURE, front.picture(reports))
    readme = RESULTS.with_name("README.md")
    if readme.is_file():
        write_text(readme, front.filled(readme.read_text(encoding="utf-8"), reports))


def write_page(folder: Path, results: Path) -> tuple[Report, Path]:
    """Write `<results>/<recipe>/README.md` from the records there; returns the report too."""
    report = build_report(folder, results)
    page = results / folder.name / "README.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, render_markdown(report))
    return report, page


def draw(folder: Path) -> list[Path]:
    """One figure a scale, all arms together."""
    records = load_all(RESULTS / folder.name)
    headline = headline_arms(load_claims(folder / "claims.yaml"))
    paths = []
    for scale in sorted({r["scale"] for r in records}):
        path = RESULTS / folder.name / scale / FIGURE
        plot_recipe([r for r in records if r["scale"] == scale], path, headline)
        paths.append(path)
    return paths


def show_report(report: Report, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        render_terminal(report, Console())
