"""results/README.md: one line a headline claim, with records and date."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.results import index, record
from common.results.tables import build_report

Make = Callable[..., dict[str, Any]]


def lines(recipe: Path, results: Path) -> list[list[str]]:
    page = index.render([build_report(recipe, results)])
    rows = [text.strip("| ").split(" | ") for text in page.splitlines() if text.startswith("| ")]
    return rows[1:]


@pytest.fixture
def marked(recipe: Path) -> Path:
    path = recipe / "claims.yaml"
    path.write_text(path.read_text().replace("kind: outcome", "kind: outcome\n  headline: true"))
    return recipe


def test_one_line_a_headline_claim(marked: Path, make_record: Make) -> None:
    results = marked.parent.parent / "results"
    ids = []
    for arm, accuracy in (("gspo", 0.7), ("grpo", 0.4)):
        for seed in (1, 2):
            values = make_record(arm, seed, accuracy=accuracy)
            record.write(values, record.record_path(results / "demo", values))
            ids.append(record.record_id(values))
    ((claim, paper, ours, verdict, seeds, records, date),) = lines(marked, results)
    assert claim == "GSPO ends higher (Figure 1)" and paper == "not printed"
    scales = ours.split("<br>")
    assert scales[0].startswith("micro: 0.2922 [") and scales[0].endswith("] over seeds")
    assert scales[1] == "node8: not run"
    assert verdict == "paper: not tested at paper scale; micro analogue: holds"
    assert seeds == "2 (1, 2)" and date == "2026-01-01"
    assert all(f"[`{i}`](demo/micro/" in records for i in ids) and records.count("](") == 4


def test_before_any_record(marked: Path) -> None:
    rows = lines(marked, marked.parent / "nothing")
    assert rows == [
        ["GSPO ends higher (Figure 1)", "not printed", "not run", "not run", "0", "-", "-"]
    ]
