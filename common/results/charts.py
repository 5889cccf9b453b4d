"""The drawings of the report page: SVG that stands in the page and takes its colours from its CSS.

The training curves are drawn by matplotlib, one panel each, as in plots.py; a verdict's interval
beside its band is geometry that the page's template draws. Equal input gives equal bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from common.results import plots
from common.results.claims import Verdict

WIDTH = 240  # of the drawing of an interval, in its own units
MARGIN = 8
# Colours in matplotlib's file that stand for colours of the page: `#0a0002` is that of arm 2.
INK, GRID, ARM = "#010203", "#dddddd", "#0a00"
_STYLE = {
    "svg.fonttype": "none",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}
_COLOURS = {INK: "var(--muted)", GRID: "var(--rule)"} | {
    f"{ARM}{i:02x}": f"var(--arm-{i})" for i in range(len(plots.COLOURS))
}


@dataclass(frozen=True)
class Panel:
    title: str
    metric: str
    svg: str


@dataclass(frozen=True)
class Arm:
    """An entry of the legend: `colour` is a number of the palette, `dash` one of the dashes;
    `shown`: before the reader chooses."""

    name: str
    seeds: int
    colour: int
    dash: int
    shown: bool


def curves(
    records: Sequence[dict[str, Any]], headline: Collection[str] = ()
) -> tuple[list[Arm], list[Panel]]:
    """The training curves of one recipe at one scale; `arm-<i>` is the class of arm i's marks."""
    arms = plots.by_arm(records, headline)
    place = f"{records[0]['recipe']}-{records[0]['scale']}"
    several, shown = len(plots.COLOURS), plots.in_colour(arms, headline)
    legend = [
        Arm(name, len(seeds), i % several, i // several % len(plots.DASHES), i < shown)
        for i, (name, seeds) in enumerate(arms.items())
    ]
    return legend, [
        Panel(title, metric, _panel(arms, metric, logarithmic, f"{place}-{metric}", title))
        for metric, title, logarithmic in plots.panels_of(arms)
    ]


def _panel(
    arms: dict[str, list[plots.Curves]], metric: str, logarithmic: bool, place: str, title: str
) -> str:
    salt = {"svg.hashsalt": place}  # no id occurs twice in a page
    look: dict[Any, Any] = {**matplotlib.rcParamsDefault, **_STYLE, **salt}
    with matplotlib.rc_context(look):
        figure = Figure(figsize=(4.2, 2.5), layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        drawn = sorted(plots.panel(axes, arms, metric, logarithmic))
        several = [i for i, seeds in enumerate(arms.values()) if i in drawn and len(seeds) > 1]
        marked: Any = ((drawn, axes.lines), (several, axes.collections))
        for numbers, marks in marked:
            for i, mark in zip(numbers, marks, strict=False):
                mark.set_gid(f"arm-{i}")
                mark.set_color(f"{ARM}{i % len(plots.COLOURS):02x}")
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(written.getvalue(), f"{title} over the steps of training")


def _inline(svg: str, label: str) -> str:
    """What a page needs of matplotlib's SVG file."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.S)
    svg = re.sub(r' id="(arm-\d+)"', r' class="\1"', svg)
    named = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([\w.-]+)"', lambda m: m[0] if m[1] in named else "", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", svg)
    svg = re.sub(r'"[^"<>]*"', lambda m: _PLACES.sub(_rounded, m[0]), svg)  # no text, no label
    svg = svg.replace(" xlink:href=", " href=")
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda m: _COLOURS.get(m[0], m[0]), svg)
    box = re.search(r'viewBox="[^"]+"', svg)
    assert box is not None
    head = f'<svg class="panel" {box[0]} role="img" aria-label="{label}">'
    return re.sub(r"\n\s*", "\n", re.sub(r"<svg\b[^>]*>", head, svg, count=1)).strip()


_PLACES = re.compile(r"\d+\.\d{3,}")


def _rounded(place: re.Match[str]) -> str:
    return f"{float(place[0]):.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Interval:
    """A verdict as drawn, from 0 to WIDTH: ends of the band and of the interval, our value, the
    paper's; `ticks`: (place, text) of the band's limits."""

    band: tuple[float, float]
    line: tuple[float, float] | None
    value: float
    paper: float | None
    ticks: list[tuple[float, str]]
    label: str


def interval(verdict: Verdict) -> Interval | None:
    """The interval of a verdict beside its band; None for a verdict without a value."""
    if verdict.value is None or verdict.interval is None:
        return None
    logarithmic = "log" in verdict.over
    claim = verdict.claim
    ends = [end for end in verdict.interval if np.isfinite(end)]
    limits = [limit for limit in claim.limits if np.isfinite(limit)]
    printed = [] if claim.paper.value is None else [claim.paper.value]
    shown = [v for v in (verdict.value, *ends, *limits, *printed) if v > 0 or not logarithmic]
    scale = np.log if logarithmic else np.float64
    low, high = float(scale(min(shown))), float(scale(max(shown)))
    span = (high - low) or 1.0

    def place(value: float) -> float:
        """Limits that are not shown, a missing one too, lie at the edge."""
        if not np.isfinite(value) or (logarithmic and value <= 0):
            return 0.0 if value <= 0 else float(WIDTH)
        inner = (float(scale(value)) - low) / span
        return round(MARGIN + inner * (WIDTH - 2 * MARGIN), 1)

    whole = len(ends) == 2
    found = f"95 % interval {ends[0]:.3g} to {ends[1]:.3g}" if whole else "no interval"
    return Interval(
        band=(place(claim.limits[0]), place(claim.limits[1])),
        line=(place(ends[0]), place(ends[1])) if whole else None,
        value=place(verdict.value),
        paper=place(printed[0]) if printed and printed[0] in shown else None,
        ticks=[(place(limit), f"{limit:g}") for limit in limits],
        label=f"ours {verdict.value:.4g}, {found}; band {claim.band_text}",
    )
