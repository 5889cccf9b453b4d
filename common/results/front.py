"""The front page: the tables in README.md, and the picture above them, results/headlines.svg.

Written from the reports by `table`, and held against them by `verify`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.results import charts
from common.results.claims import NOT_RUN, Verdict
from common.results.index import LINE, ours_text, printed_text
from common.results.page import measured, tally
from common.results.tables import Report, markdown, told

PICTURE = "headlines.svg"  # below results/
TEMPLATE = Path(__file__).with_name("template")
CLAIMS_HEAD = "recipe | claim | paper | ours (95 % CI) | verdict"
RECIPES_HEAD = "recipe | question | scales | measured | claims"
BLOCK = re.compile(r"(<!-- (claims|recipes): [^\n]* -->\n).*?(<!-- /\2 -->)", re.DOTALL)

# The picture, in pixels: a row for each verdict, its claim cut after LONGEST letters.
WIDTH, MARGIN, ROW, HEAD = 900, 20, 22, 44
LEFT, WORDS, LONGEST = 600, 785, 90  # where the interval starts, and the verdict


def environment() -> Environment:
    """For the templates of the pages: every value is escaped, a missing one is an error."""
    return Environment(
        loader=FileSystemLoader(TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def filled(text: str, reports: Sequence[Report]) -> str:
    """The text of README.md with its tables written anew; as it is where it has no markers."""
    ordered = told(reports)
    made = {"claims": _claims(ordered), "recipes": markdown(RECIPES_HEAD, map(_recipe, ordered))}
    return BLOCK.sub(lambda found: f"{found[1]}\n{made[found[2]]}\n{found[3]}", text)


def _headlines(report: Report) -> list[Verdict]:
    return [v for v in report.verdicts if v.claim.headline]


def _claims(reports: Sequence[Report]) -> str:
    claims = {(r.recipe, v.claim.id) for r in reports for v in _headlines(r)}
    judged = [(r.recipe, v) for r in reports for v in _headlines(r) if v.seeds]
    waiting = claims - {(recipe, v.claim.id) for recipe, v in judged}
    scales = dict.fromkeys(v.scale for _, v in judged)
    counts = [f"; at {s}: {tally([v for _, v in judged if v.scale == s])}" for s in scales]
    done = len(claims) - len(waiting)
    parts = [f"Of {len(claims)} headline claims {done} are measured{''.join(counts)}.\n"]
    if judged:
        parts.append(markdown(CLAIMS_HEAD, [_claim(recipe, v) for recipe, v in judged]))
    absent = [recipe for recipe, _ in sorted(waiting)]
    names = [f"{recipe} ({absent.count(recipe)})" for recipe in dict.fromkeys(absent)]
    return "\n".join([*parts, f"Not run: {', '.join(names)}.\n"] if names else parts)


def _claim(recipe: str, verdict: Verdict) -> list[str]:
    claim, result = verdict.claim, verdict.result
    return [
        f"[{recipe}](results/{recipe}/README.md)",
        f"{claim.text} ({claim.source})",
        printed_text(verdict),
        f"{verdict.scale}: {ours_text(verdict)}",
        verdict.text.replace(result, f"**{result}**").rpartition("; ")[2],
    ]


def _recipe(report: Report) -> list[str]:
    here = dict.fromkeys(source.path.partition("/")[0] for source in report.sources)
    claims = [f"{s}: {tally([v for v in report.verdicts if v.scale == s])}" for s in here]
    return [
        f"[`{report.recipe}`](recipes/{report.recipe}/README.md)",
        report.title,
        ", ".join(report.scales),
        LINE.join(f"{s}: {measured(report, s)}" for s in here) or NOT_RUN,
        LINE.join(claims) or "-",
    ]


@dataclass(frozen=True)
class _Line:
    claim: str
    text: str
    result: str
    drawing: charts.Interval | None


@dataclass(frozen=True)
class _Block:
    """A recipe at one scale; `y`: its upper edge."""

    name: str
    scale: str
    lines: list[_Line]
    y: int


def picture(reports: Sequence[Report]) -> str:
    """The headline claims that were measured, each with its interval beside its band, as SVG."""
    height = MARGIN
    blocks = []
    for report in told(reports):
        judged = [v for v in _headlines(report) if v.seeds]
        for scale in dict.fromkeys(v.scale for v in judged):
            lines = [
                _Line(
                    claim=textwrap.shorten(v.claim.text, LONGEST, placeholder=" ..."),
                    text=f"{v.claim.text}: {v.text}",
                    result=v.result,
                    drawing=charts.interval(v),
                )
                for v in judged
                if v.scale == scale
            ]
            blocks.append(_Block(report.recipe, scale, lines, height))
            height += HEAD + ROW * len(lines)
    return (
        environment()
        .get_template(PICTURE)
        .render(
            blocks=blocks,
            width=WIDTH,
            height=height,
            margin=MARGIN,
            row=ROW,
            left=LEFT,
            words=WORDS,
            shrink=(WORDS - LEFT - 12) / charts.WIDTH,
        )
    )
