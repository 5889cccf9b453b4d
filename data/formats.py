"""Rows of published files: JSON lines (also gzipped), JSON lists, parquet, NoMIRACL's folder."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def read_rows(path: Path, columns: set[str]) -> Iterator[dict[str, Any]]:
    """The rows of one file, each with at least `columns`.

    Raises: ValueError naming the file, and the line or row where it is known.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path, columns)
        return
    for number, line in _json_list(path) or _lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}: line {number} is no JSON ({error})") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}: line {number} is no mapping")
        missing = sorted(columns - set(row))
        if missing:
            raise ValueError(
                f"{path}: line {number} has no column {missing[0]!r} (has: {', '.join(row)})"
            )
        yield row


def _parquet(path: Path, columns: set[str]) -> Iterator[dict[str, Any]]:
    read = 0
    try:
        file = pq.ParquetFile(path)
        found = file.schema_arrow.names
        missing = sorted(columns - set(found))
        if missing:
            raise ValueError(f"{path}: no column {missing[0]!r} (has: {', '.join(found)})")
        for batch in file.iter_batches(columns=sorted(columns)):
            yield from batch.to_pylist()
            read += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        after = f" after row {read}" if read else ""
        raise ValueError(f"{path}: not readable as parquet{after} ({reason})") from None


def _json_list(path: Path) -> list[tuple[int, bytes]]:
    """Numbered elements of a file that is one JSON list; nothing for another file."""
    with path.open("rb") as file:
        if path.suffix != ".json" or file.read(1) != b"[":
            return []
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: no JSON ({error})") from None
    return [(number, json.dumps(row).encode()) for number, row in enumerate(found, start=1)]


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that hold something."""
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: not readable after line {number} ({error})") from None


def nomiracl(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """NoMIRACL: queries with their judged passages (title and text), relevant queries first.

    `paths`: the corpus, topics of relevant and non-relevant queries, and qrels of both, as in
    `sources.yaml`. Rows: `qid`, `query`, `relevant`, `passages` (a list of texts).
    """
    corpus, *rest = paths
    texts = {
        row["docid"]: f"{row['title']}: {row['text']}".replace("\n", " ").strip()
        for row in read_rows(corpus, {"docid", "title", "text"})
    }
    for relevant, topics, qrels in ((True, rest[0], rest[2]), (False, rest[1], rest[3])):
        judged: dict[str, list[str]] = {}
        for number, (query, _, document, _) in _cells(qrels, 4):
            if document not in texts:
                raise ValueError(f"{qrels}: line {number}: document {document} is not in {corpus}")
            judged.setdefault(query, []).append(texts[document])
        queries = {key: words for _, (key, words) in _cells(topics, 2)}
        for key, passages in judged.items():
            if key in queries:
                yield {
                    "qid": key,
                    "query": queries[key],
                    "relevant": relevant,
                    "passages": passages,
                }


def _cells(path: Path, count: int) -> Iterator[tuple[int, list[str]]]:
    for number, line in _lines(path):
        cells = line.decode().rstrip("\r\n").split("\t")
        if len(cells) != count:
            raise ValueError(f"{path}: line {number} has {len(cells)} cells, {count} are wanted")
        yield number, cells
