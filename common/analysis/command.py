"""`python -m common analyse`: the command line of the analyses. Light to import."""

from __future__ import annotations

import argparse
import importlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.analysis.report import Analysis
    from common.analysis.runs import Selection

ANALYSES = {  # name: (module, from saved responses or from records, help)
    "passk": ("passk", False, "pass@k with bands, and paired differences from before RL"),
    "coverage": ("coverage", False, "problems solved by both, before RL only, by RL only, by none"),
    "limem": ("memorisation", False, "memorisation score on a benchmark and its perturbed twins"),
    "entropy": ("entropy", False, "entropy over training, and performance as a function of it"),
    "tokens": ("words", True, "reward of responses with and without a thinking word"),
    "languages": ("languages", True, "Chinese in responses, and the reward of mixed ones"),
    "forks": ("forks", True, "entropy of each token, and connectives among those of high entropy"),
    "health": ("health", False, "signs of an unhealthy training: KL, gradients, entropy, length"),
    "habits": ("habits", False, "the four habits over training, published curves behind"),
    "mediation": ("mediation", True, "does a habit's count predict accuracy; counters compared"),
    "styles": ("styles", False, "length, code and reflection in responses over training"),
    "distance": ("distance", True, "how far warm-ups and trained models are from the base"),
    "gain": ("gain", False, "reward gained by second of update, by response drawn or trained on"),
    "refusal": ("refusal", False, "TP, FP, TN, FN of questions to answer or to refuse"),
    "transfer": ("transfer", True, "published substring grader beside the strict one"),
}
COMMON = ("verb", "analysis", "recipe", "words", "json")  # the rest are an analysis's own


def listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def add_parser(verbs: Any) -> None:
    """Add `analyse`, with one sub-command for each analysis."""
    text = "A table, a figure and JSON from a recipe's records or saved responses."
    kinds = verbs.add_parser("analyse", help=text, description=text).add_subparsers(
        dest="analysis", required=True, metavar="ANALYSIS"
    )
    for name, (_, from_responses, about) in ANALYSES.items():
        sub = kinds.add_parser(name, help=about, description=about)
        sub.add_argument("recipe", help="a name under recipes/, or a recipe's folder")
        sub.add_argument("words", nargs="*", help="scale=, variant=, seed=, and overrides")
        sub.add_argument("--json", action="store_true", help="print JSON on standard output")
        if from_responses:
            sub.add_argument("--benchmarks", type=listed, metavar="A,B", help="default: all")
        if name == "coverage":
            sub.add_argument("--k", type=int, help="samples a problem; default: all")
        if name == "tokens":
            sub.add_argument("--search", type=listed, metavar="A,B", help="words to look for")
        if name in ("forks", "distance"):
            sub.add_argument("--responses", type=int, help="of each run; default: 100")
        if name == "limem":
            sub.add_argument("--original", required=True, help="a benchmark of the recipe")
            sub.add_argument(
                "--perturbed", required=True, type=listed, metavar="A,B", help="its twins"
            )


def run(arguments: argparse.Namespace) -> int:
    """One analysis of every scale that the words name; JSON is by scale.

    Raises: ValueError naming what is missing and the command that makes it.
    """
    from common.analysis import runs
    from common.analysis.report import publish
    from common.results.report import write_page

    values = {}
    for selection, analysis in analyses(arguments):
        values[selection.scale] = publish(analysis, selection.output, quiet=arguments.json)
        if selection.folder and selection.output.is_relative_to(runs.RESULTS):
            write_page(selection.folder, runs.RESULTS)  # it shows the figure
    if arguments.json:
        print(json.dumps(values, indent=2))
    return 0


def analyses(arguments: argparse.Namespace) -> Iterator[tuple[Selection, Analysis]]:
    """The runs and the analysis of every scale that the words name."""
    from common.analysis.runs import select

    module, from_responses, _ = ANALYSES[arguments.analysis]
    options = {k: v for k, v in vars(arguments).items() if k not in COMMON and v is not None}
    given = [f"--{k} {','.join(v) if isinstance(v, list) else v}" for k, v in options.items()]
    words = ["python -m common analyse", arguments.analysis, arguments.recipe, *arguments.words]
    for selection in select(arguments.recipe, arguments.words, from_responses):
        analyse = importlib.import_module(f"common.analysis.{module}").analyse
        yield selection, replace(analyse(selection, **options), command=" ".join([*words, *given]))


def again(path: Path, command: str) -> Iterator[Analysis]:
    """A published analysis of records, made once more by the command in its file.

    Raises: ValueError when that is no command for this analysis of this recipe.
    """
    from common import cli
    from common.config import recipe_folder

    words = shlex.split(command)
    recipe = path.parents[2].name
    if words[:5] != ["python", "-m", "common", "analyse", path.stem] or len(words) < 6:
        raise ValueError(f"{command!r} is not `python -m common analyse {path.stem} {recipe}`")
    arguments = cli.parser().parse_args(words[3:])
    if recipe_folder(arguments.recipe).name != recipe:
        raise ValueError(f"{command!r} is for another recipe than {recipe}")
    for selection, analysis in analyses(arguments):
        if selection.output == path.parent:
            yield analysis
