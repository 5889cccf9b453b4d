"""Mean reward of responses with and without a word, e.g. a thinking word such as `wait`.

Xie et al. 2025 (Logic-RL, arXiv 2502.14768, RQ2, Figure 3) print bars without counts or intervals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from common.analysis.report import Analysis, Table, bars, figure, interval_text
from common.analysis.runs import AFTER, Selection, read_responses, saved_benchmarks
from common.results.rows import Estimate
from common.results.statistics import LEVEL, UNBOUNDED, Interval

THINKING = (
    "verify",
    "re-evaluate",
    "reevaluate",
    "recheck",
    "check",
    "wait",
    "yet",
    "let's",
    "however",
    "alternatively",
)
FEWEST = 5  # problems on either side, below which an interval would promise too much
NOTES = [
    "A word counts when it stands in the response as a whole word, in upper or lower case.",
    "difference: mean reward with the word minus without, over all responses of all seeds. Its "
    "95 % interval is Welch's, robust to responses of one problem (and seed) being alike; there "
    f"is none when fewer than {FEWEST} problems have responses on either side.",
    "same problem: the mean, over problems with responses of both kinds, of the difference within "
    "the problem (Student's t over problems): free of the fact that harder problems provoke other "
    "words.",
    "These are associations: a word need not cause the reward.",
]


@dataclass(frozen=True)
class Contrast:
    """Rewards with and without a property; a mean of no response is None."""

    n_with: int
    n_without: int
    mean_with: float | None
    mean_without: float | None
    difference: Estimate | None
    same_problem: Estimate | None
    problems_with_both: int


def contrast(rewards: NDArray, present: NDArray, problems: NDArray) -> Contrast:
    """Rewards of the responses with a property against those without.

    The standard error is that of Welch's test with clusters in place of single values (the
    linearised, `CR1` variance, corrected on each side), and its degrees of freedom Welch and
    Satterthwaite's over clusters; with one response a problem it is Welch's interval. Simulated
    coverage (600 data sets each, 8 rewards of 0 or 1 for each of 200 problems of Beta-distributed
    difficulty): 94-96 % for a word in 1 to 30 % of the responses, where harder problems provoke it
    too (plain Welch: 92 %); 94 % where 5 to 9 problems have the word, and 64-79 % below that.

    Args: rewards: (N,); present: (N,) booleans; problems: (N,) which problem, integers from 0.
    """
    sides = [present, ~present]
    counts_2P, sums_2P = (
        np.array([np.bincount(problems, side * x, problems.max(initial=0) + 1) for side in sides])
        for x in (np.ones_like(rewards), rewards)
    )
    n_with, n_without = (int(side.sum()) for side in sides)
    if not n_with or not n_without:
        mean = float(rewards.mean()) if rewards.size else None
        with_, without = (mean, None) if n_with else (None, mean)
        return Contrast(n_with, n_without, with_, without, None, None, 0)
    means_2 = sums_2P.sum(axis=1) / counts_2P.sum(axis=1)
    clusters_2 = np.count_nonzero(counts_2P, axis=1)
    difference = Estimate(
        float(means_2[0] - means_2[1]),
        _clustered_interval(counts_2P, sums_2P, means_2, clusters_2),
        "problems",
    )
    both_P = (counts_2P > 0).all(axis=0)
    within_P = sums_2P[0, both_P] / counts_2P[0, both_P] - sums_2P[1, both_P] / counts_2P[1, both_P]
    return Contrast(
        n_with,
        n_without,
        float(means_2[0]),
        float(means_2[1]),
        difference,
        _mean(within_P),
        int(both_P.sum()),
    )


def _clustered_interval(
    counts_2P: NDArray, sums_2P: NDArray, means_2: NDArray, clusters_2: NDArray
) -> Interval:
    if clusters_2.min() < FEWEST:
        return UNBOUNDED
    totals_21 = counts_2P.sum(axis=1, keepdims=True)
    influence_2P = (sums_2P - means_2[:, None] * counts_2P) / totals_21
    influence_2P *= np.sqrt(clusters_2 / (clusters_2 - 1))[:, None]
    variance = float(((influence_2P[0] - influence_2P[1]) ** 2).sum())
    sides_2 = (influence_2P**2).sum(axis=1)
    if sides_2.sum() == 0:
        return UNBOUNDED
    freedom = sides_2.sum() ** 2 / (sides_2**2 / (clusters_2 - 1)).sum()
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * variance**0.5
    value = float(means_2[0] - means_2[1])
    return value - half, value + half


def _mean(values_P: NDArray) -> Estimate | None:
    """Student's t interval of a mean over problems."""
    if not values_P.size:
        return None
    value = float(values_P.mean())
    if values_P.size < FEWEST or np.ptp(values_P) == 0:
        return Estimate(value, UNBOUNDED, "problems")
    half = float(stats.t.ppf((1 + LEVEL) / 2, values_P.size - 1) * stats.sem(values_P))
    return Estimate(value, (value - half, value + half), "problems")


def finder(words: Sequence[str]) -> re.Pattern[str]:
    """A pattern whose matches are the words, the longest first; an apostrophe may be curly.

    Letters of other scripts are boundaries: Chinese is written without spaces.
    """
    choices = []
    for word in sorted(set(words), key=lambda w: (-len(w), w)):
        text = re.escape(word).replace("'", "['’]")
        start, end = (r"\b" if re.match(r"\w", c, re.ASCII) else "" for c in (word[0], word[-1]))
        choices.append(f"{start}{text}{end}")
    return re.compile("|".join(choices), re.IGNORECASE | re.ASCII)


def words_in(response: str, pattern: re.Pattern[str]) -> set[str]:
    """The words of `finder` in a response, in lower case."""
    return {match.lower().replace("’", "'") for match in pattern.findall(response)}


@dataclass
class Sample:
    """Rewards of many responses and the words in each, gathered response by response."""

    words: Sequence[str]
    rewards: list[float] = field(default_factory=list)
    problems: list[int] = field(default_factory=list)
    found: list[list[bool]] = field(default_factory=list)
    known: dict[Any, int] = field(default_factory=dict)

    def add(self, seed: int, rows: Iterable[dict[str, Any]]) -> None:
        pattern = finder(self.words)
        for row in rows:
            there = words_in(row["response"], pattern)
            self.rewards.append(float(row["reward"]))
            self.problems.append(self.known.setdefault((seed, row["id"]), len(self.known)))
            self.found.append([word in there for word in self.words])

    def contrasts(self) -> dict[str, Contrast]:
        rewards, problems = np.array(self.rewards), np.array(self.problems, dtype=int)
        found_NW = np.array(self.found, dtype=bool).reshape(-1, len(self.words))
        return {
            word: contrast(rewards, found_NW[:, i], problems) for i, word in enumerate(self.words)
        }


HEAD = "n with | n without | mean with | mean without | difference (95 % CI) | same problem"


def cells(found: Contrast) -> list[str]:
    """The columns of `HEAD`."""
    means = ["-" if m is None else f"{m:.4g}" for m in (found.mean_with, found.mean_without)]
    differences = [
        "-" if e is None else interval_text(e, "+") for e in (found.difference, found.same_problem)
    ]
    if found.same_problem:
        differences[1] += f" of {found.problems_with_both}"
    return [str(found.n_with), str(found.n_without), *means, *differences]


def analyse(
    selection: Selection, benchmarks: Sequence[str] = (), search: Sequence[str] = THINKING
) -> Analysis:
    """The table, the figure and the JSON, over the saved responses; by default of all
    benchmarks."""
    words = [w.lower() for w in search]
    lines: list[list[str]] = []
    values: dict[str, Any] = {}
    shown: dict[str, dict[str, dict[str, Contrast]]] = {}
    for label, stage, runs in selection.models:
        for benchmark in saved_benchmarks(runs[0], benchmarks):
            sample = Sample(words)
            for run in runs:
                sample.add(run.seed, read_responses(run, stage, benchmark))
            found = sample.contrasts()
            there = {w: c for w, c in found.items() if c.n_with}
            absent = [w for w in words if w not in there]
            lines += [[benchmark, label, w, *cells(c)] for w, c in there.items()]
            if absent:
                lines.append([benchmark, label, ", ".join(absent), *cells(found[absent[0]])])
            values.setdefault(benchmark, {})[label] = {w: asdict(c) for w, c in found.items()}
            if stage == AFTER:
                shown.setdefault(benchmark, {})[label] = found
    title = f"reward with and without a word, {selection.recipe} at {selection.scale}"
    table = Table("thinking words", f"benchmark | model | word | {HEAD}", lines)
    return Analysis("tokens", title, [table], NOTES, values, draw(shown, words, title))


def draw(
    shown: dict[str, dict[str, dict[str, Contrast]]], words: Sequence[str], title: str
) -> Figure:
    """A row of panels for each benchmark, one for each arm: the difference of each word that
    occurs."""
    most = max(map(len, shown.values()))
    made, grid = figure(len(shown), most, title)
    made.set_figheight(0.6 + len(shown) * (1.2 + 0.28 * len(words)))
    for row, (benchmark, arms) in zip(grid, shown.items(), strict=True):
        for axes in row[len(arms) :]:
            axes.set_visible(False)
        for axes, (arm, found) in zip(row, arms.items(), strict=False):
            there = {w: c.difference for w, c in found.items() if c.difference}
            labels = [f"{w} ({found[w].n_with})" for w in there]
            axes.set_title(f"{benchmark}: {arm}", fontsize=10)
            if not there:
                axes.text(0.5, 0.5, "no word occurs", transform=axes.transAxes, ha="center")
                continue
            bars(axes, labels, list(there.values()), "reward with minus without")
            axes.axvline(0, color="#555555", linewidth=0.8)
    return made
