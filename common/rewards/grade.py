"""`python -m common grade GRADER IN.jsonl OUT.jsonl`: verdicts on a file of outputs.

A row of IN has `id`, `gold` and `response` (text, or null: nothing was produced), and what the
grader needs besides; of a pair of answers, `prediction` stands in the response's place. A row of
OUT has `id`, `outcome`, `score`, `extracted`, `grader` and `version`, `row` (a digest of the row
that was graded), lists of verdicts by name (IFEval: `strict` and `loose`), and `details` where the
grader gives more. The same command goes on where a killed one stopped: a row of which OUT has the
verdict is not graded again, unless the row has changed since; a new version of the grader wants a
new OUT.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from common.console import console, say
from common.rewards.registry import MODULES, get_grader
from common.rewards.verdict import Outcome, Verdict
from common.rewards.workers import Pool
from common.sandbox import runner

CHUNK = 32  # rows that a worker gets at once
Numbered = tuple[int, dict[str, Any]]


def add_parser(verbs: Any) -> None:
    text = "Grade a file of outputs; interrupted, it goes on where it stopped."
    parser = verbs.add_parser(
        "grade",
        help=text,
        description=text,
        epilog=__doc__.partition("\n\n")[2] if __doc__ else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("grader", nargs="?", help="a name of --list, or <module>:<name>")
    parser.add_argument("source", nargs="?", metavar="IN.jsonl", type=Path)
    parser.add_argument("target", nargs="?", metavar="OUT.jsonl", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (all cores)")
    parser.add_argument("--list", action="store_true", help="name the graders")


def run(arguments: argparse.Namespace) -> int:
    """Raises ValueError, in one line that names file and line, for what is wrong with them."""
    if arguments.list:
        for name in MODULES:
            grader = get_grader(name)
            needs = f"; needs {', '.join(grader.needs)}" if grader.needs else ""
            print(f"{name} (version {grader.version}{needs})")
        return 0
    if arguments.target is None:
        raise ValueError("grade: give GRADER IN.jsonl OUT.jsonl, or --list")
    if arguments.workers < 1:
        raise ValueError(f"--workers={arguments.workers}: at least 1 is wanted")
    counts = grade_file(arguments.grader, arguments.source, arguments.target, arguments.workers)
    found = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)
    say(f"{arguments.grader}: {found} ({arguments.target})")
    return 0


def grade_file(name: str, source: Path, target: Path, workers: int) -> Counter[Outcome]:
    """Append the verdicts that `target` lacks, in the order of `source`; counts over all of it.

    Raises: ValueError as `run`.
    """
    grader = get_grader(name)
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"{target}: is the file to be graded; name another for the verdicts")
    with _named(source, "read", "name a readable file with one JSON object a line"):
        ids = _check_rows(source)
    with _named(target, "written", "name a file in a folder that you may write to"):
        if not target.parent.exists():
            target.parent.mkdir(parents=True)
        file = target.open("a+b")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{target}: another process is writing it; wait for it") from None
        done = _read_verdicts(file, target, name, grader.version, ids, source)
        counts = Counter(done.values())
        rows = ((n, row) for n, row in _rows(source) if row["id"] not in done)
        with _bar() as bar:
            task = bar.add_task(f"grade {name}", total=len(ids), completed=len(done))
            for number, row, verdict in _verdicts(name, rows, workers):
                if isinstance(verdict, ValueError):
                    raise ValueError(f"{source}:{number}: {verdict}")
                line = _line(row["id"], verdict, name, grader.version) | {"row": ids[row["id"]]}
                file.write(json.dumps(line).encode() + b"\n")
                counts[verdict.outcome] += 1
                bar.advance(task)
    return counts


def _verdicts(
    name: str, rows: Iterator[Numbered], workers: int
) -> Iterator[tuple[int, dict[str, Any], Verdict | ValueError]]:
    """Line number, row and verdict, in order; only a few chunks are in memory at a time."""
    pool = Pool(workers)
    waiting: deque[tuple[list[Numbered], Future[list[Verdict | ValueError]]]] = deque()
    threads = ThreadPoolExecutor(workers)
    try:
        while True:
            while len(waiting) < 2 * workers and (chunk := list(islice(rows, CHUNK))):
                future = threads.submit(pool.grade_all, name, [row for _, row in chunk])
                waiting.append((chunk, future))
            if not waiting:
                return
            chunk, future = waiting.popleft()
            for (number, row), verdict in zip(chunk, future.result(), strict=True):
                yield number, row, verdict
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        pool.close()
        runner.close()


def _rows(source: Path) -> Iterator[Numbered]:
    """Line numbers and rows, each with a `response`; empty lines are passed over."""
    with source.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{source}:{number}: not JSON ({error})") from None
            if not isinstance(row, dict):
                raise ValueError(f"{source}:{number}: an object is wanted, not {line[:40]!r}")
            if "response" not in row and "prediction" in row:
                row["response"] = row["prediction"]
            row.setdefault("gold")  # IFEval has other keys instead; the grader says what lacks
            yield number, row


@contextlib.contextmanager
def _named(path: Path, done: str, mend: str) -> Iterator[None]:
    """What the system says of a path, in one line with the mend."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path}: cannot be {done} ({error.strerror}); {mend}") from None


def _digest(row: dict[str, Any]) -> str:
    """Of all that a row says: equal for equal rows, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:16]


def _check_rows(source: Path) -> dict[str | int, str]:
    """The digest of each row by its id. Raises ValueError, naming the line, for the first bad row;
    OSError for a file that cannot be read."""
    ids: dict[str | int, str] = {}
    for number, row in _rows(source):
        where = f"{source}:{number}"
        missing = [key for key in ("id", "response") if key not in row]
        if missing:
            raise ValueError(f"{where}: {missing[0]!r} is missing")
        if not isinstance(row["id"], str | int) or isinstance(row["id"], bool):
            raise ValueError(f"{where}: id: text or a number is wanted, not {row['id']!r}")
        if not isinstance(row["response"], str | None):
            raise ValueError(f"{where}: response: text or null is wanted")
        if row["id"] in ids:
            raise ValueError(f"{where}: the id {row['id']!r} occurs twice")
        ids[row["id"]] = _digest(row)
    if not ids:
        raise ValueError(f"{source}: no rows")
    return ids


def _read_verdicts(
    file: IO[bytes],
    target: Path,
    name: str,
    version: str,
    ids: Mapping[str | int, str],
    source: Path,
) -> dict[str | int, Outcome]:
    """Outcomes by id of an OUT so far. A last line that was cut short is removed, and so are
    verdicts on rows that have changed since.

    Raises: ValueError, naming the line, for a broken line or another grader's verdict, or one on a
    row that `source` does not have.
    """
    found: dict[str | int, Outcome] = {}
    changed: set[int] = set()
    whole = 0
    file.seek(0)
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break
        whole += len(line)
        try:
            row = json.loads(line)
            if (row["grader"], row["version"]) != (name, version):
                raise ValueError(
                    f"{row['grader']} version {row['version']} graded it, not {name} version "
                    f"{version}; move the file away"
                )
            key, outcome, digest = row["id"], Outcome(row["outcome"]), row["row"]
            known = key in ids
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{target}:{number}: no verdict of this command ({error})") from None
        if not known:
            raise ValueError(f"{target}: has the id {key!r}, {source} has not; move it away")
        if digest == ids[key]:
            found[key] = outcome
        else:
            changed.add(number)
    file.truncate(whole)
    if changed:
        say(f"{source}: {len(changed)} rows have changed since they were graded; graded again")
        file.seek(0)
        kept = [line for number, line in enumerate(file, 1) if number not in changed]
        file.truncate(0)  # killed here, the next call grades all rows again
        file.writelines(kept)
        file.flush()
    return found


def _line(key: str | int, verdict: Verdict, name: str, version: str) -> dict[str, Any]:
    lists = {
        k: v
        for k, v in verdict.details.items()
        if isinstance(v, list) and all(isinstance(x, bool) for x in v)
    }
    rest = {k: v for k, v in verdict.details.items() if k not in lists}
    return {
        "id": key,
        "outcome": verdict.outcome.value,
        "score": verdict.score,
        "extracted": verdict.extracted,
        "grader": name,
        "version": version,
        **lists,
        **({"details": rest} if rest else {}),
    }


def _bar() -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=console)
