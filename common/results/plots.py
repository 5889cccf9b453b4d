"""Training curves as PNG files: one run, or all arms of a recipe over their seeds.

Equal input gives equal bytes (for one version of matplotlib): the default style, no date.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import textwrap
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from common.results.record import record_id

matplotlib.use("Agg")

VALIDATION = "val-core/"
VALIDATIONS = f"{VALIDATION}*/mean@*"  # a pattern
PANELS = (  # (metric, or pattern of some, title, logarithmic)
    ("critic/score/mean", "reward", False),
    (VALIDATIONS, "validation accuracy", False),
    ("response_length/mean", "response length (tokens)", False),
    ("actor/entropy", "entropy (nats per token)", False),
    ("actor/pg_clipfrac", "clip fraction", True),
    ("actor/ppo_kl", "KL from the old policy", False),
    ("actor/grad_norm", "gradient norm", False),
    ("actor/token_log_ratio_var", "variance of token log-ratios", True),
    ("actor/sequence_log_ratio_var", "variance of sequence log-ratios", True),
    ("train/loss", "loss of fine-tuning", False),
    ("course/*/accuracy", "accuracy in fine-tuning", False),
    ("course/*/entropy", "entropy in fine-tuning (nats per token)", False),
)
# Over all sampled responses, in the place of the same over those that go to the update: an arm that
# leaves out the incorrect ones has no other score.
WHOLE = {"critic/score/mean": "group/score", "actor/entropy": "group/entropy"}
# Okabe and Ito's palette: told apart under all common colour-vision deficiencies. Dashes tell apart
# what repeats a colour.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
DASHES = ["-", "--", ":"]
OTHER: dict[str, Any] = {"color": "#bdbdbd", "linewidth": 0.8, "zorder": 1}

Curves = dict[str, Any]  # {"steps": [int], "metrics": {name: [float | None]}}


def plot_run(curves: Curves, path: Path, title: str) -> None:
    """One panel per logged metric of one run, written as a PNG."""
    save(draw({"": [curves]}, title), path)


def plot_recipe(
    records: Sequence[dict[str, Any]], path: Path, headline: Collection[str] = ()
) -> None:
    """All arms of one recipe at one scale: mean over seeds, band from the lowest to the highest.

    `headline`: the arms that stay in colour where there are more arms than colours.

    Raises: ValueError without records, or with records of several recipes or scales.
    """
    places = sorted({f"{r['recipe']} at {r['scale']}" for r in records})
    if len(places) != 1:
        raise ValueError(f"a figure shows one recipe at one scale, not {places or 'none'}")
    arms = by_arm(records, headline)
    several = any(len(seeds) > 1 for seeds in arms.values())
    note = "; line: mean over seeds, band: lowest to highest" if several else "; one seed"
    labelled = {f"{arm} ({_count(len(seeds), 'seed')})": seeds for arm, seeds in arms.items()}
    figure = draw(labelled, places[0] + note, in_colour(arms, headline))
    save(figure, path, drawn_from(records))


def by_arm(
    records: Sequence[dict[str, Any]], headline: Collection[str] = ()
) -> dict[str, list[Curves]]:
    """{arm: the curves of its seeds}, both in order; the headline arms come first."""
    arms: dict[str, list[Curves]] = {}
    for record in sorted(
        records, key=lambda r: (r["variant"] not in headline, r["variant"], r["seed"])
    ):
        arms.setdefault(record["variant"], []).append(record["curves"])
    return arms


def in_colour(arms: Collection[str], headline: Collection[str]) -> int:
    """How many of the arms, the first ones, have a colour: all, unless there are too many."""
    named = sum(arm in headline for arm in arms)
    return named if named and len(arms) > len(COLOURS) else len(arms)


def drawn_from(records: Sequence[dict[str, Any]]) -> str:
    """What the PNG says, in its `Source`, that it was drawn from."""
    return ", ".join(sorted(f"{r['variant']}-seed{r['seed']} {record_id(r)}" for r in records))


def draw(arms: dict[str, list[Curves]], title: str, coloured: int | None = None) -> Figure:
    """The figure: {arm: the curves of its seeds}; no legend when the only arm has no name.

    `coloured`: so many arms, the first ones, have a colour and a band, the others are grey lines.
    """
    coloured = len(arms) if coloured is None else coloured
    panels = panels_of(arms)
    columns = 3
    rows = max(1, -(-len(panels) // columns))
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        figure = Figure(figsize=(4.4 * columns, 2.7 * rows + 1.1), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for unused in grid[len(panels) :]:
            unused.remove()
        drawn: set[int] = set()
        for axes, (metric, name, logarithmic) in zip(grid, panels, strict=False):
            drawn |= panel(axes, arms, metric, logarithmic, coloured)
            axes.set_title(f"{name}\n", fontsize=11)
            axes.text(0.5, 1.03, metric, transform=axes.transAxes, ha="center", **_SMALL)
        figure.suptitle(title if panels else f"{title}: no metric was logged", fontsize=12)
        if list(arms) != [""] and drawn:
            _legend(figure, [(i, arm) for i, arm in enumerate(arms) if i in drawn], coloured)
    return figure


def _legend(figure: Figure, drawn: Sequence[tuple[int, str]], coloured: int) -> None:
    """The arms in colour one by one; above them the names of the grey ones."""
    shown = {arm: Line2D([], [], linewidth=2, **style(i)) for i, arm in drawn if i < coloured}
    # a name and its number of seeds stay in one line
    others = ", ".join(arm.replace(" ", "\N{NO-BREAK SPACE}") for i, arm in drawn if i >= coloured)
    look: dict[str, Any] = {"loc": "outside lower center", "ncols": 4, "frameon": False}
    if others:
        look["title"] = textwrap.fill(f"grey: {others}", 190, break_on_hyphens=False)
    figure.legend(list(shown.values()), list(shown), title_fontsize=8, **look)


_SMALL: dict[str, Any] = {"fontsize": 8, "family": "monospace", "color": "#555555"}


def panels_of(arms: dict[str, list[Curves]]) -> list[tuple[str, str, bool]]:
    """`PANELS` that some arm logged: each metric of a pattern has its own, `WHOLE` stands in its
    place."""
    logged = {
        name
        for seeds in arms.values()
        for curves in seeds
        for name, values in curves["metrics"].items()
        if any(value is not None for value in values)
    }
    panels = []
    for metric, title, logarithmic in PANELS:
        whole = WHOLE.get(metric, metric)
        keys = [whole] if whole in logged else sorted(fnmatch.filter(logged, metric))
        panels += [(key, title, logarithmic) for key in keys]
    return panels


def panel(
    axes: Axes,
    arms: dict[str, list[Curves]],
    metric: str,
    logarithmic: bool,
    coloured: int | None = None,
) -> set[int]:
    """One metric of every arm over the steps: mean over its seeds, band from lowest to highest.

    Some arm must have logged it. Of the arms from number `coloured` on: a grey line alone.
    Returns: the numbers of the arms that have it.
    """
    highest: dict[int, float] = {}
    last = 0
    for i, seeds in enumerate(arms.values()):
        steps, values_ST = _aligned(seeds, metric)
        if steps.size == 0:
            continue
        mean = np.nanmean(values_ST, axis=0)
        highest[i] = mean.max()
        last = max(last, steps[-1])  # an arm that logs other metrics may be longer
        if coloured is not None and i >= coloured:
            axes.plot(steps, mean, **OTHER)
            continue
        look = style(i)
        marker = "o" if steps.size <= 25 else None
        axes.plot(steps, mean, marker=marker, markersize=3, linewidth=1.4, **look)
        if len(seeds) > 1:
            low, high = np.nanmin(values_ST, axis=0), np.nanmax(values_ST, axis=0)
            if logarithmic:  # a band down to zero would hide the panel: stop at the least above it
                low = np.maximum(low, np.min(values_ST[values_ST > 0], initial=np.inf))
            axes.fill_between(
                steps, low, high, where=high >= low, color=look["color"], alpha=0.13, linewidth=0
            )
    if logarithmic and max(highest.values()) > 0:
        axes.set_yscale("log", nonpositive="clip")  # a zero reaches down to the frame
        axes.yaxis.set_major_formatter(_PlainLog())
        axes.yaxis.set_minor_formatter(_PlainLog(minor_thresholds=(1, 0.4)))
    axes.set_xlabel("step", fontsize=9)
    axes.set_xlim(0, max(last, 1))
    axes.tick_params(which="both", labelsize=9)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return set(highest)


class _PlainLog(LogFormatter):
    """0.002 for 2e-03."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _aligned(seeds: Iterable[Curves], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps (T,) on which some seed logged the metric, and values (S, T), NaN where one did not."""
    logged = [
        {
            step: value
            for step, value in zip(c["steps"], c["metrics"].get(metric, []), strict=False)
            if value is not None
        }
        for c in seeds
    ]
    steps = sorted(set().union(*logged))
    values = [[seed.get(step, np.nan) for step in steps] for seed in logged]
    return np.array(steps, dtype=int), np.array(values, dtype=float).reshape(len(logged), -1)


def style(index: int) -> dict[str, Any]:
    """Colour and dashes of the line with this number."""
    round_ = index // len(COLOURS)
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[round_ % len(DASHES)]}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"


def save(figure: Figure, path: Path, source: str | None = None) -> None:
    """Write a PNG; with a `source`, it says it, and the sha256 of its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if source is None:
        # Software: without this, the file names matplotlib's version.
        figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
        return
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    with Image.open(drawn) as image:
        said = PngInfo()
        said.add_text("Source", source)
        said.add_text("Pixels", _pixels(image))
        image.save(path, format="PNG", pnginfo=said)


def source_of(path: Path) -> str:
    """What a PNG says it was drawn from, if its pixels are still the ones that were drawn."""
    try:
        with Image.open(path) as image:
            said: dict[str, str] = getattr(image, "text", {})
            whole = said.get("Pixels") == _pixels(image)
            return said.get("Source", "") if whole else "other pixels than were drawn"
    except (OSError, SyntaxError):  # Pillow's error for a broken part is the latter
        return "no picture"


def _pixels(image: Image.Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()
