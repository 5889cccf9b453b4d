"""Signs of an unhealthy training in the curves of records: common/health.py and health.yaml."""

from __future__ import annotations

from matplotlib.figure import Figure

from common import health
from common.analysis.report import Analysis, Table, figure
from common.analysis.runs import Selection
from common.health import HEALTHY, WARNED, Health

COLOURS = {WARNED: "#D55E00", HEALTHY: "#009E73"}  # the others, of which nothing is said, are grey
NOTES = [
    "A sign that a run logs no metric of is `not logged`, never healthy; one with fewer steps than "
    "its limits need is `too few steps`. A sign asks for a look at the curves; it is no verdict on "
    "an arm.",
    "`since step 12, in 28`: the first step with the sign, and how many had it. Limits of the "
    "article are those that it prints as numbers; the rest are ours.",
    "A record's curves have null where a value was not finite, as where none was logged. Records "
    "with a summary of their own (`health`) tell them apart; in the others `gradient_explosion` is "
    "judged on finite values only.",
    "verl's `response_length/clip_ratio` is the share of responses as long as the longest of the "
    "step, whatever the limit. Records without `response_length/max` cannot say how many were cut.",
]


def analyse(selection: Selection) -> Analysis:
    """The tables, the figure and the JSON of the runs' records."""
    records = {run.name: run.record for run in selection.runs}
    found = {name: health.of_record(record) for name, record in records.items() if record}
    lines, warnings = [], []
    for run in selection.runs:
        own = found[run.name]
        lines.append([run.variant, str(run.seed), *map(health.text, own.values())])
        for name, sign in own.items():
            for w in sign.warnings:
                of = f"{w.steps} of {sign.logged}"
                worst = "not finite" if w.worst is None else f"{w.worst:.4g}"
                limit = f"{w.limit} ({w.source})"
                cells = [name, f"`{w.metric}`", limit, str(w.first), of, worst]
                warnings.append([run.variant, str(run.seed), *cells])
    limits = [
        [name, sign.about, _names(x), x.text, x.source, x.mend or sign.mend]
        for name, sign in health.signs().items()
        for x in sign.limits
    ]
    title = f"training health of {selection.recipe} at {selection.scale}"
    tables = [
        Table("signs", "arm | seed | " + " | ".join(health.signs()), lines),
        Table(
            "limits that were broken",
            "arm | seed | sign | metric | limit | first step | steps | worst",
            warnings,
        ),
        Table("limits", "sign | of what | metric | limit | source | mend", limits),
    ]
    values = {name: health.as_json(own) for name, own in found.items()}
    return Analysis("health", title, tables, NOTES, values, draw(found, title))


def _names(limit: health.Limit) -> str:
    return " or ".join(f"`{metric}`" for metric in limit.metrics)


def draw(found: dict[str, dict[str, Health]], title: str) -> Figure:
    """Runs by signs: green is healthy, orange has a warning since a step, grey says nothing."""
    made, grid = figure(1, 1, title)
    made.set_size_inches(9.5, 1.4 + 0.26 * len(found))
    axes = grid[0, 0]
    axes.grid(False)
    names = list(health.signs())
    for y, own in enumerate(found.values()):
        for x, name in enumerate(names):
            sign = own[name]
            colour = COLOURS.get(sign.state, "#dddddd")
            axes.barh(y, 0.94, left=x - 0.47, height=0.86, color=colour, alpha=0.8)
            said = f"step {min(w.first for w in sign.warnings)}" if sign.warnings else sign.state
            axes.text(x, y, said, ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(found)), list(found), fontsize=8)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.tick_params(length=0)
    return made
