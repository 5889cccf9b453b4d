"""The committed pages say what the committed records say, and nothing else."""

import json
import re

import pytest

from common.config import ROOT
from common.results.record import load_all
from common.results.tables import build_report, render_markdown

PAGES = sorted(ROOT.glob("results/*/README.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.parent.name)
def test_the_page_is_what_its_records_give(page):
    report = build_report(ROOT / "recipes" / page.parent.name, ROOT / "results")
    assert page.read_text() == render_markdown(report)
    assert all((page.parent / figure).is_file() for figure in report.figures)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.parent.name)
def test_records_name_their_command_and_no_machine(page):
    records = load_all(page.parent)
    assert records
    for record in records:
        # a sweep over the recipe's own value trains the recipe's own run
        assert record["argv"][0] in ("run", "sweep") and record["argv"][1] == record["recipe"]
        # the one absolute path is a default of verl's own
        paths = set(re.findall(r'"(/[^"]+)"', json.dumps(record)))
        assert paths <= {"/tmp/ray/session_latest/metrics/prometheus/prometheus.yml"}
