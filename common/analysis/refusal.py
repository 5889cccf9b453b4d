"""Answer or refuse: TP, FN, TN and FP of questions of which some have no answer, and their rates.

The Qwen3-RL post (2025-06-26) gives these four counts of an internal set; from its table follows
that TP + FN are the answerable questions and TN + FP the others. A positive is a question that has
an answer; right means answered rightly, or refused.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from matplotlib.figure import Figure

from common.analysis.bootstrap import over_seeds
from common.analysis.report import Analysis, Table, bars, figure, interval_text
from common.analysis.runs import AFTER, Run, Selection
from common.results.record import BASE, compute_metrics
from common.results.rows import Estimate

PARTS = ("answerable", "unanswerable")
NOTES = [
    "Counts are of responses, summed over seeds: TP answerable and answered rightly, FN answerable "
    "and not, TN unanswerable and refused, FP unanswerable and not refused.",
    "Recall TP / (TP + FN), refusal TN / (TN + FP), and their mean, which does not depend on how "
    "many of the questions have an answer: over problems with one seed, Student's t over more.",
]


def counts(run: Run, benchmark: str, suffix: str) -> dict[str, int]:
    """TP, FN, TN and FP of the responses of one model."""
    answered, refused = (run.problems[f"{benchmark}, {part}{suffix}"] for part in PARTS)
    return {
        "TP": sum(answered["c"]),
        "FN": sum(answered["n"]) - sum(answered["c"]),
        "TN": sum(refused["c"]),
        "FP": sum(refused["n"]) - sum(refused["c"]),
    }


def rates(runs: list[Run], benchmark: str, suffix: str) -> dict[str, Estimate]:
    """Recall, refusal and their mean, over the seeds of one model."""
    found = {}
    for name, part in zip(("recall", "refusal"), PARTS, strict=True):
        key = f"{benchmark}, {part}{suffix}"
        metrics = [compute_metrics({key: r.problems[key]})[f"{key}/accuracy"] for r in runs]
        low, high = metrics[0]["ci95"]
        found[name] = over_seeds([m["mean"] for m in metrics], (low, high), True)
    recall, refusal = found["recall"], found["refusal"]
    # independent questions: the variances add up
    halves = [
        (e.interval[1] - e.interval[0]) / 2 if e.interval else float("inf")
        for e in (recall, refusal)
    ]
    middle, half = (recall.value + refusal.value) / 2, (halves[0] ** 2 + halves[1] ** 2) ** 0.5 / 2
    interval = (max(0.0, middle - half), min(1.0, middle + half))
    return found | {"balanced": Estimate(middle, interval, recall.over)}


def analyse(selection: Selection) -> Analysis:
    """The table, the figure and the JSON of one selection of runs.

    Raises: ValueError where no benchmark has an answerable and an unanswerable part.
    """
    names = {n.removesuffix(f", {PARTS[0]}") for r in selection.runs for n in r.problems}
    known = selection.runs[0].problems
    names = {n for n in names if all(f"{n}, {part}" in known for part in PARTS)}
    if not names:
        raise ValueError(
            f"{selection.recipe}: no benchmark has parts called `<name>, {PARTS[0]}` and "
            f"`<name>, {PARTS[1]}`"
        )
    lines: list[list[str]] = []
    values: dict[str, Any] = {}
    for name in sorted(names):
        for model, stage, runs in selection.models:
            suffix = "" if stage == AFTER else BASE
            each = {r.seed: counts(r, name, suffix) for r in runs}
            total = {k: sum(c[k] for c in each.values()) for k in ("TP", "FP", "TN", "FN")}
            shares = rates(runs, name, suffix)
            cells = [interval_text(shares[k]) for k in ("recall", "refusal", "balanced")]
            lines.append([name, model, *map(str, total.values()), *cells])
            values.setdefault(name, {})[model] = {
                "seeds": each,
                "rates": {k: asdict(e) for k, e in shares.items()},
            }
    head = "benchmark | model | TP | FP | TN | FN | recall | refusal | mean of both"
    title = f"answers and refusals of {selection.recipe} at {selection.scale}"
    table = Table("questions answered or refused (95 % CI)", head, lines)
    return Analysis("refusal", title, [table], NOTES, values, draw(values, title))


def draw(values: dict[str, Any], title: str) -> Figure:
    """Recall and refusal of every model."""
    made, grid = figure(len(values), 2, title)
    made.set_figheight(1.6 + 0.35 * sum(map(len, values.values())))
    for row, (name, models) in zip(grid, values.items(), strict=True):
        for axes, rate in zip(row, ("recall", "refusal"), strict=True):
            found = [Estimate(**m["rates"][rate]) for m in models.values()]
            bars(axes, list(models), found, f"{name}: {rate}")
    return made
