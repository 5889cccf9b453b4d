"""results/README.md: one line a headline claim, with records and date."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.results import front, index, record
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


FRONT = """\
above
<!-- claims: by us -->
<!-- /claims -->
between
<!-- recipes: by us -->
<!-- /recipes -->
"""


def test_the_front_page_is_written_between_its_markers(marked: Path, make_record: Make) -> None:
    (marked / "README.md").write_text("# demo: which clips more?\n")
    results = marked.parent.parent / "results"
    for arm, accuracy in (("gspo", 0.4), ("grpo", 0.7)):
        values = make_record(arm, 1, accuracy=accuracy)
        record.write(values, record.record_path(results / "demo", values))
    reports = [build_report(marked, results)]
    page = front.filled(FRONT, reports)
    assert "Of 1 headline claims 1 are measured; at micro: 1 fails.\n" in page
    score = next(v for v in reports[0].verdicts if v.claim.id == "score" and v.seeds)
    told = f"| not printed | micro: {score.value:.4g} ["
    assert told in page and "] over problems | micro analogue: **fails** |\n" in page
    line = "| which clips more? | micro, node8 | micro: 2 arms, 1 seed each | micro: 2 fail |"
    assert line in page
    assert front.filled(page.replace(told, told.replace("-", "+")), reports) == page
    drawn = front.picture(reports)
    assert drawn.count("<circle") == 1 and f"<title>GSPO ends higher: {score.text}</title>" in drawn
    assert front.filled("no markers\n", reports) == "no markers\n"


def test_before_any_record(marked: Path) -> None:
    rows = lines(marked, marked.parent / "nothing")
    assert rows == [
        ["GSPO ends higher (Figure 1)", "not printed", "not run", "not run", "0", "-", "-"]
    ]
