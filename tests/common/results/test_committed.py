"""The committed results say what the committed records say, and nothing else."""

import json
import re

import pytest
import yaml

from common import cli
from common.config import ROOT, recipe_folders
from common.fork import forked_from
from common.results import front
from common.results.claims import load_claims
from common.results.record import load_all

PAGES = sorted(ROOT.glob("results/*/README.md"))


@pytest.mark.component
def test_verify_passes(capsys):
    """Pages, index, figures, analyses and hashes: all computed again and compared."""
    assert cli.main(["verify"]) == 0, capsys.readouterr().err
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        *(folder.name for folder in recipe_folders()),
        "results",
    ]
    readme = (ROOT / "README.md").read_text()  # it was looked at, if it has both tables
    assert {found[2] for found in front.BLOCK.finditer(readme)} == {"claims", "recipes"}
    assert sum("as committed (" in line for line in lines) == len(PAGES) + 1


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


@pytest.mark.parametrize("folder", recipe_folders(), ids=lambda p: p.name)
def test_a_recipe_has_headlines_and_can_be_cited(folder):
    assert 3 <= sum(claim.headline for claim in load_claims(folder / "claims.yaml")) <= 6
    entries = (folder / "paper.bib").read_text()
    assert entries.count("{") == entries.count("}")
    for entry in re.split(r"\n(?=@)", entries):
        assert re.match(r"@\w+\{\w+,\n", entry)
        assert all(f"  {name} = {{" in entry for name in ("title", "author", "year"))


def test_the_citation_file_is_whole():
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(found)
    cited = {r["title"].lower() for r in found["references"]}
    bibs = "".join((f / "paper.bib").read_text() for f in recipe_folders()).lower()
    papers = [f for f in recipe_folders() if forked_from(f) is None]
    assert len(cited) >= len(papers) and all(title in bibs for title in cited)
