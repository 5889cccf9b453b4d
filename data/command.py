"""`python -m common data list | fetch | verify | overlap | answer`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from common.console import console, say
from data import overlap, store
from data.sources import Copy, get_source, parse, sources


def add_parser(verbs: Any) -> None:
    """Add the verb `data` to the program's verbs."""
    text = "Data sets: list them, fetch them, verify their files, compare two of them."
    data = verbs.add_parser("data", help=text, description=text)
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, words in (
        ("list", "What there is, where it is from, and what is on this machine."),
        ("fetch", "Fetch the named sets, or `all`, from DATA_MIRROR, GitHub or the hub."),
        ("verify", "Check the fetched files, and those of DATA_MIRROR, byte for byte."),
    ):
        sub = actions.add_parser(name, help=words, description=words)
        sub.add_argument("names", nargs="*", metavar="SET[/SPLIT]")
        sub.add_argument("--json", action="store_true", help="print JSON on standard output")
    words = "Problems of A that are in B, equal or nearly. A set, or a built parquet file."
    sub = actions.add_parser("overlap", help=words, description=f"{words} {overlap.__doc__}")
    sub.add_argument("a", metavar="A")
    sub.add_argument("b", metavar="B")
    sub.add_argument(
        "--near", type=float, default=0.5, help="Jaccard similarity of near ones, default 0.5"
    )
    sub.add_argument("--json", action="store_true", help="print JSON on standard output")
    words = "A teacher's answers to the prompts of a built parquet file, as JSON lines."
    sub = actions.add_parser("answer", help=words, description=words)
    sub.add_argument("prompts", type=Path, metavar="FILE", help="runs/.../data/train.parquet")
    sub.add_argument("to", type=Path, metavar="TO", help="made anew; asked for once, see TO.cache")
    sub.add_argument("--url", required=True, help="endpoint, up to and with /v1")
    sub.add_argument("--model", required=True, help="the endpoint's name of the teacher")
    sub.add_argument("--take", type=int, help="the first so many prompts")
    sub.add_argument("--max-tokens", type=int, default=2048, help="of an answer, default 2048")
    sub.add_argument("--temperature", type=float, default=0.0, help="default 0")
    sub.add_argument("--concurrency", type=int, default=8, help="requests in flight")


def run(arguments: argparse.Namespace) -> int:
    """One action; the exit code is 1 where a file is damaged or a set cannot be had."""
    if arguments.action == "overlap":
        return _overlap(arguments)
    if arguments.action == "answer":
        return _answer(arguments)
    splits = _splits(arguments.names)
    if arguments.action == "fetch" and not arguments.names:
        raise ValueError("data fetch: name the sets (`data list` shows them), or write all")
    lines = {"list": _list, "fetch": _fetch, "verify": _verify}[arguments.action](splits)
    if arguments.json:
        print(json.dumps(lines, indent=2))
    return int(any(line["faults"] for line in lines))


def _answer(arguments: argparse.Namespace) -> int:
    from common.habits.chat import Chat
    from data import teacher

    with Chat(
        arguments.url,
        arguments.model,
        arguments.to.with_name(f"{arguments.to.name}.cache"),
        max_tokens=arguments.max_tokens,
        temperature=arguments.temperature,
        concurrency=arguments.concurrency,
    ) as chat:
        teacher.answer(arguments.prompts, arguments.to, chat, arguments.take)
    return 0


def _splits(names: list[str]) -> list[tuple[str, str]]:
    """The splits that are named: `set/split`, every split of `set`, or `all` of them."""
    found: list[tuple[str, str]] = []
    for name in names if names and names != ["all"] else sources():
        if "/" in name:
            found.append(parse(name))
        else:
            found += [(name, split) for split in get_source(name).splits]
    return list(dict.fromkeys(found))


def _list(splits: list[tuple[str, str]]) -> list[dict[str, Any]]:
    lines = []
    for name, split in splits:
        source, here = get_source(name), store.held(name, split)
        rows, copies = source.splits[split].rows, source.splits[split].copies
        trust = [_trust(copy) for copy in copies]
        lines.append(
            {
                "split": f"{name}/{split}",
                "title": source.title,
                "rows": rows,
                "licence": source.licence,
                "grader": source.grader,
                "at": [copy.at for copy in copies],
                "pinned_by": trust,
                "cautions": source.cautions,
                "fetched": here.at if here else None,
                "faults": [],
            }
        )
        places = (f"{c.at.partition('@')[0]} ({by})" for c, by in zip(copies, trust, strict=True))
        console.print(
            f"{name + '/' + split:26} {rows or '?':>8} rows  {'here' if here else '    '}  "
            f"{source.licence}; {', '.join(places)}",
            markup=False,
        )
    for name in dict.fromkeys(name for name, _ in splits):
        for caution in get_source(name).cautions:
            console.print(f"{name}: {caution}", markup=False)
    return lines


def _trust(copy: Copy) -> str:
    """What keeps a copy from changing unnoticed: published hashes, a commit, or nothing yet."""
    if all(file.sha256 for file in copy.files):
        return "sha256"
    return "commit" if copy.pinned else "not pinned"


def _fetch(splits: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [_line(name, split, "", partial(store.fetch, name, split)) for name, split in splits]


def _verify(splits: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Every fetched split, and every split of which the mirror has a file."""
    lines = []
    for name, split in splits:
        here = store.held(name, split)
        if here is not None:
            lines.append(_line(name, split, "", partial(_whole, name, here, False)))
        for copy in get_source(name).splits[split].copies:
            if any(store.mirror_path(name, file) for file in copy.files):
                lines.append(_line(name, split, "mirror", partial(_whole, name, copy, True)))
                break
    if not lines:
        raise ValueError(
            "data verify: none of these was fetched, and DATA_MIRROR has none; "
            "`python -m common data fetch` gets them"
        )
    return lines


def _whole(name: str, copy: Copy, in_mirror: bool) -> Copy:
    faults = store.damage(name, copy, in_mirror)
    mend = f"replace it from where it came ({copy.at})"
    if not in_mirror:
        mend = f"`python -m common data fetch {name}` mends it"
    if faults:
        raise ValueError(f"{'; '.join(faults)}; {mend}")
    return copy


def _line(name: str, split: str, place: str, action: Callable[[], Copy]) -> dict[str, Any]:
    """Do `action`, then read every row; one line on the terminal, one for a program."""
    line: dict[str, Any] = {"split": f"{name}/{split}", "place": place or "store", "faults": []}
    title = f"{name}/{split}" + (f" in the {place}" if place else "")
    try:
        copy = action()
        line["at"] = copy.at
        line["rows"] = store.count_rows(name, split, copy, in_mirror=bool(place))
        line["files"] = {file.local: vars(store.wanted(name, file)) for file in copy.files}
        files = f"{len(copy.files)} file{'s' if len(copy.files) > 1 else ''}"
        say(f"{title}: {line['rows']} rows, {files}, as they must be")
    except ValueError as error:
        fault = str(error).removeprefix(f"data {name}/{split}: ")
        line["faults"].append(fault)
        say(f"{title}: {fault}")
    return line


def _overlap(arguments: argparse.Namespace) -> int:
    if not 0 < arguments.near <= 1:
        raise ValueError(f"--near {arguments.near}: a similarity from 0 to 1 is wanted")
    found = overlap.report(arguments.a, arguments.b, arguments.near)
    if arguments.json:
        print(json.dumps(found, indent=2))
    a, b = found["a"], found["b"]
    table = Table("", f"rows of {a['name']}", f"rows of {b['name']}")
    table.add_row("all", str(a["rows"]), str(b["rows"]))
    table.add_row("repeated inside", str(a["repeated"]), str(b["repeated"]))
    for kind, title in (("exact", "equal in both"), ("near", f"near ({arguments.near:g} or more)")):
        table.add_row(title, str(found[kind]["rows_of_a"]), str(found[kind]["rows_of_b"]))
    console.print(table)
    for kind in ("exact", "near"):
        for pair in found[kind]["examples"][:1]:
            say(f"{kind}: {' '.join(pair['a'].split())[:90]} | {' '.join(pair['b'].split())[:90]}")
    return 0
