"""`python -m common habits`: priming sets and corpora by a language model, and counts of habits.

Files go to `runs/habits/` unless told otherwise; answers of the model are kept beside them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.config import ROOT
from common.console import console, say

if TYPE_CHECKING:
    from common.habits.chat import Chat

FOLDER = ROOT / "runs" / "habits"


def _price(text: str) -> tuple[float, float]:
    cheap, _, dear = text.partition(",")
    try:
        return float(cheap), float(dear)
    except ValueError:
        raise argparse.ArgumentTypeError("write IN,OUT: dollars for a million tokens") from None


def add_parser(verbs: Any) -> None:
    """Add `habits`, with one sub-command for each action."""
    text = "Priming sets and corpora by a language model; counts of the four habits."
    actions = verbs.add_parser("habits", help=text, description=__doc__).add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )

    def action(name: str, about: str, model: bool = True) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=about, description=about)
        if model:
            sub.add_argument("--url", required=True, help="endpoint, up to and with /v1")
            sub.add_argument("--model", required=True, help="the endpoint's name of the model")
            sub.add_argument("--price", type=_price, metavar="IN,OUT", help="$ per million tokens")
            sub.add_argument("--concurrency", type=int, default=8, help="requests in flight")
        return sub

    prime = action("prime", "Have a model write a priming set for Countdown.")
    prime.add_argument("set")
    prime.add_argument("--rows", type=int, default=1000)
    derive = action("derive", "Make empty_cot or dots from a set with thoughts.", model=False)
    derive.add_argument("set")
    derive.add_argument("--of", type=Path, help="default: runs/habits/all_strategies.jsonl")
    derive.add_argument("--tokenizer", help="hub name or folder: dots are as many as its tokens")
    check = action("check", "Say what a priming set contains, and whether it is as claimed.", False)
    check.add_argument("set")
    check.add_argument("--file", type=Path, help="default: runs/habits/<set>.jsonl")
    count = action("classify", "Count habits in saved responses; `analyse` reads the counts.")
    count.add_argument("recipe", help="a name under recipes/, or a recipe's folder")
    count.add_argument("words", nargs="*", help="scale=, variant=, seed=")
    count.add_argument("--samples", type=int, default=200, help="responses of each model and step")
    for name, about in (
        ("label", "Count habits in a text corpus: frequencies with intervals."),
        ("rewrite", "Rewrite labelled texts as question, thoughts and answer."),
    ):
        sub = action(name, about)
        sub.add_argument("corpus", type=Path, help="JSON lines or parquet, with a column of texts")
        sub.add_argument("--column", default="text")
        sub.add_argument("--take", type=int, help="the first so many texts")
        if name == "rewrite":
            sub.add_argument("--style", required=True, help="curated or minimized")


def run(arguments: argparse.Namespace) -> int:
    """One action. Raises: ValueError; StageError where the endpoint gives no answer."""
    return ACTIONS[arguments.action](arguments)


def _chat(arguments: argparse.Namespace, max_tokens: int, temperature: float) -> Chat:
    from common.habits.chat import Chat

    return Chat(
        arguments.url,
        arguments.model,
        FOLDER / "answers" / f"{arguments.action}.jsonl",
        max_tokens=max_tokens,
        temperature=temperature,
        price=arguments.price,
        concurrency=arguments.concurrency,
    )


def _prime(arguments: argparse.Namespace) -> int:
    from common.habits import priming

    with _chat(arguments, priming.MAX_TOKENS, priming.TEMPERATURE) as chat:
        rows = priming.prime(chat, arguments.set, arguments.rows)
        say(f"{arguments.set}: {chat.cost}")
    write_lines(FOLDER / f"{arguments.set}.jsonl", rows)
    return _report(arguments.set, rows)


def _derive(arguments: argparse.Namespace) -> int:
    from common.habits import priming

    path = arguments.of or FOLDER / "all_strategies.jsonl"
    rows = priming.derive(arguments.set, read_lines(path), _tokens(arguments))
    write_lines(FOLDER / f"{arguments.set}.jsonl", rows)
    return _report(arguments.set, rows)


def _tokens(arguments: argparse.Namespace) -> Callable[[str], int]:
    if arguments.set != "dots":
        return len
    if not arguments.tokenizer:
        raise ValueError("habits derive dots: --tokenizer is wanted, that of the model to prime")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer, trust_remote_code=False)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _check(arguments: argparse.Namespace) -> int:
    path = arguments.file or FOLDER / f"{arguments.set}.jsonl"
    return _report(arguments.set, read_lines(path))


def _report(name: str, rows: list[dict[str, Any]]) -> int:
    """Print what a set contains; 1 where it is not what it claims."""
    from common.habits.checks import CLAIMS, content, faults

    if name not in CLAIMS:
        raise ValueError(f"no priming set {name!r}; there is {', '.join(CLAIMS)}")
    solutions = [row["response"] for row in rows]
    found = content(solutions, rows)
    say(f"{name}: {found.rows} rows, {found.right:.1%} right, {found.characters:.0f} characters")
    for habit, share in found.share.items():
        say(f"  {habit}: in {share:.1%}, {found.mean[habit]:.2f} a solution (by rules)")
    wrong = faults(name, solutions, rows, exact=False)
    for fault in wrong:
        say(f"  not as claimed: {fault}")
    return int(bool(wrong))


def _classify(arguments: argparse.Namespace) -> int:
    from common.analysis.habit_counts import classify_runs
    from common.habits.classify import MAX_TOKENS

    with _chat(arguments, MAX_TOKENS, 0.0) as chat:
        classify_runs(chat, arguments.recipe, arguments.words, arguments.samples)
        say(f"classify: {chat.cost}")
    return 0


def _label(arguments: argparse.Namespace) -> int:
    from common.habits import corpus
    from common.runs import write_json

    texts = corpus.read_texts(arguments.corpus, arguments.column, arguments.take)
    with _chat(arguments, corpus.LABEL_TOKENS, 0.0) as chat:
        labels = corpus.label(chat, texts)
        say(f"label: {chat.cost}")
    write_lines(_labels(arguments.corpus), labels)
    found = corpus.frequencies(labels)
    write_json(FOLDER / f"{arguments.corpus.stem}.frequencies.json", corpus.as_json(found))
    for name, frequency in found.items():
        low, high = frequency.share_interval
        console.print(
            f"{name}: in {frequency.share:.2%} [{low:.2%}, {high:.2%}] of {frequency.texts} texts, "
            f"{frequency.mean:.3f} a text",
            markup=False,
        )
    return 0


def _rewrite(arguments: argparse.Namespace) -> int:
    from common.habits import corpus

    labels = _labels(arguments.corpus)
    if not labels.exists():
        raise ValueError(f"{labels}: label the corpus first, `python -m common habits label`")
    solved = {row["id"] for row in read_lines(labels) if row["solution"]}
    texts = corpus.read_texts(arguments.corpus, arguments.column, arguments.take)
    chosen = [row for row in texts if row["id"] in solved]
    with _chat(arguments, corpus.REWRITE_TOKENS, 0.0) as chat:
        rows = corpus.rewrite(chat, chosen, arguments.style, "question_raw")
        say(f"rewrite: {chat.cost}")
    write_lines(FOLDER / f"{arguments.style}.jsonl", rows)
    say(f"{arguments.style}: {len(rows)} texts of {len(chosen)} with a solution")
    return 0


def _labels(path: Path) -> Path:
    return FOLDER / f"{path.stem}.labels.jsonl"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of JSON lines. Raises: ValueError where there is no such file, or no row."""
    from data.formats import read_rows

    if not path.exists():
        raise ValueError(f"{path}: no such file")
    rows = list(read_rows(path, set()))
    if not rows:
        raise ValueError(f"{path}: no rows")
    return rows


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Atomic, as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    partial.replace(path)
    say(f"{len(rows)} rows: {path}")


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "prime": _prime,
    "derive": _derive,
    "check": _check,
    "classify": _classify,
    "label": _label,
    "rewrite": _rewrite,
}
