"""`verify` passes on what was written, and names file and key of any digit that was changed."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.config import ROOT
from common.results import plots, record, report, seal, verify
from common.runs import write_json

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def results(recipe: Path, make_record: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms, their page, figure and a sweep; made once and copied."""
    folder = recipe.parent.parent / "results"
    kept = tmp_path_factory.getbasetemp() / "kept"
    if kept.exists():
        shutil.copytree(kept, folder)
        return folder
    made = [make_record("gspo", 1), make_record("grpo", 1, accuracy=0.4, clip=0.002)]
    for values in made:
        record.write(values, record.record_path(folder / recipe.name, values))
    stored = record.load_all(folder / recipe.name)
    plots.plot_recipe(stored, folder / "demo/micro/curves.png")
    write_json(folder / "demo/sweep-micro.json", seal.sealed({"gspo": {"lr": {"0.1": 0.25}}}))
    report.write_page(recipe, folder)
    shutil.copytree(folder, kept)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1), errors="surrogateescape")


def test_what_was_written_is_in_order(recipe: Path, results: Path) -> None:
    found = verify.verify(recipe, results)
    assert not found.faults, found.faults
    # two benchmarks with accuracy and pass@1, 2, 4, 8 in two records; a seal and a config in each,
    # a sweep and a figure
    assert (found.records, found.metrics, found.verdicts, found.hashes) == (2, 20, 2, 6)
    assert found.line.startswith("demo: as committed (2 records, 20 means and intervals, 2 v")


GSPO = "micro/gspo-seed1.json"
CURVE = '"actor/token_log_ratio_var": [\n        0.00'


@pytest.mark.parametrize(
    ("name", "old", "new", "key"),
    [
        (GSPO, '"evaluate": 21.0', '"evaluate": 22.0', "sha256"),
        (GSPO, CURVE, CURVE.replace("0.00", "0.01"), "sha256"),
        (GSPO, '"n": 40', '"n": 41', "sha256"),
        (GSPO, '"sha256": "0123', '"sha256": "1123', "sha256"),
        (GSPO, "21.0", "21.00", "line"),
        (GSPO, "21.0", "NaN", "JSON"),
        (GSPO, '"A CPU"', "\udcff", "JSON"),
        ("sweep-micro.json", "0.25", "0.26", "sha256"),
        ("README.md", "GSPO clips more", "GSPO clips 3 more", "line"),
        ("README.md", "| accuracy, test", "| accuracy, tent | x | 1 |\n| accuracy, test", "line"),
    ],
)
def test_one_changed_place_is_one_line(
    recipe: Path, results: Path, name: str, old: str, new: str, key: str
) -> None:
    edit(results / "demo" / name, old, new)
    (fault,) = verify.verify(recipe, results).faults
    assert fault.file.endswith(f"results/demo/{name}") and fault.key.startswith(key)
    assert "\n" not in fault.line and "found" in fault.line and "expected" in fault.line


def test_a_record_without_its_seal_is_refused(recipe: Path, results: Path) -> None:
    path = results / "demo" / GSPO
    values = json.loads(path.read_text())
    del values[seal.KEY]
    write_json(path, values)
    (fault,) = verify.verify(recipe, results).faults
    assert (fault.key, fault.found) == ("sha256", "none")


def test_a_new_seal_on_wrong_numbers_does_not_help(recipe: Path, results: Path) -> None:
    path = results / "demo" / GSPO
    values = json.loads(path.read_text())
    values["metrics"]["test/pass@2"]["mean"] += 0.01
    write_json(path, seal.sealed(values))
    (fault,) = verify.verify(recipe, results).faults
    assert fault.key == "metrics.test/pass@2"
    values = json.loads((results / "demo/micro/grpo-seed1.json").read_text())
    write_json(path, values)  # another run's, whole
    (fault,) = verify.verify(recipe, results).faults
    assert "holds demo/micro/grpo seed 1" in fault.found


def test_a_renewed_record_leaves_page_and_figure_behind(
    recipe: Path, results: Path, make_record: Make
) -> None:
    record.write(make_record("gspo", 1, clip=0.3), results / "demo" / GSPO)
    found = verify.verify(recipe, results).faults
    assert [f.file.rpartition("/")[2] for f in found] == ["curves.png", "README.md"]
    assert "`python -m common plot demo` draws it again" in found[0].line


STRAY = ["micro/extra.csv", "notes.md", "micro/analysis/passk.md", "node8/curves.png"]


@pytest.mark.parametrize("name", STRAY)
def test_a_file_that_no_command_makes_is_named(recipe: Path, results: Path, name: str) -> None:
    (results / "demo" / name).parent.mkdir(exist_ok=True)
    (results / "demo" / name).write_text("0.99\n")
    (fault,) = verify.verify(recipe, results).faults
    assert fault.file.endswith(name) and fault.mend == "remove the file"


def test_git_tells_which_number_it_was(
    recipe: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = results.parent
    monkeypatch.setattr(verify, "ROOT", top)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(top)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    path = results / "demo" / GSPO
    values = json.loads(path.read_text())
    was = values["curves"]["metrics"]["actor/pg_clipfrac"][3]
    values["curves"]["metrics"]["actor/pg_clipfrac"][3] = 0.125
    write_json(path, values)
    subprocess.run([*git, "commit", "-qam", "edited"], check=True)  # which does not hide it
    (fault,) = verify.verify(recipe, results).faults
    assert fault.key == "curves.metrics.actor/pg_clipfrac[3]"
    assert (fault.found, fault.expected) == ("0.125", json.dumps(was))


def test_any_digit_of_a_committed_record_counts(tmp_path: Path) -> None:
    source = next(ROOT.glob("results/*/micro/*-seed1.json"))
    text = source.read_text()
    folder = tmp_path / source.parts[-3]
    path = folder / source.parts[-2] / source.name
    path.parent.mkdir(parents=True)
    places = [m.start() for m in re.finditer(r"\d", text)]
    draw = np.random.default_rng(0)
    for at in draw.choice(places, 12, replace=False):
        digit = str((int(text[at]) + 1) % 10)
        path.write_text(text[:at] + digit + text[at + 1 :])
        assert len(verify.verify(ROOT / "recipes" / folder.name, tmp_path).faults) == 1, at


def test_differences_name_keys_and_allow_for_rounding() -> None:
    found = {"a": [1, 0.1 + 0.2], "b": {"c": 1}, "sha256": "x"}
    expected = {"a": [1, 0.3], "b": {"d": 1}, "sha256": "y"}
    named = [key for key, _, _ in verify.differences(found, expected)]
    assert named == ["b.d", "b.c"]
    assert verify.first_difference("a\nb\n", "a\n") == [(2, "'b'", "'the end of the file'")]
