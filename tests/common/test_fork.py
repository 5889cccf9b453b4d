"""A fork: the parent's folder under another name, its origin noted, the parent's rows beside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common import fork
from common.config import ROOT, compose_run, leaves, recipe_folder
from common.results import record
from common.results.page import render_markdown
from common.results.tables import build_report, told
from tests.common.results.conftest import make_record, recipe

__all__ = ["make_record", "recipe"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipes").mkdir()
    monkeypatch.setattr(fork, "ROOT", tmp_path)
    return tmp_path


def test_a_fork_composes_to_the_parents_run_under_its_own_name(root: Path) -> None:
    parent = recipe_folder("logic_rl")
    child = fork.fork(parent, "my_idea")
    first, second = (
        dict(leaves(compose_run(f, "micro", "reinforce_pp", 3).config)) for f in (parent, child)
    )
    changed = {k: second[k] for k in first if first[k] != second.get(k)}
    graders = {k: v for k, v in changed.items() if k.endswith("grader")}
    assert changed.pop("trainer.project_name") == "my_idea"
    assert {k for k in changed if "trace.project_name" not in k} == set(graders)
    assert all(str(v).startswith("recipes.my_idea.task:") for v in graders.values())
    origin = fork.forked_from(child)
    assert origin is not None and origin["recipe"] == "logic_rl"
    assert origin["sha256"] == fork.folder_sha256(parent) != fork.folder_sha256(child)
    assert "logic_rl my_idea" in (child / "README.md").read_text()
    for name in ("claims.yaml", "paper.csv", "paper.bib", "run.sh", "task.py"):
        assert (child / name).read_bytes() == (parent / name).read_bytes()
    assert fork.forked_from(parent) is None


@pytest.mark.parametrize("name", ["My-idea", "../x", "taken", "", "paper"])
def test_a_name_that_cannot_be_is_refused(root: Path, name: str) -> None:
    (root / "results" / "taken").mkdir(parents=True)
    with pytest.raises(ValueError, match="name has|already|something else"):
        fork.fork(ROOT / "recipes" / "gspo_moe", name)
    assert not list((root / "recipes").iterdir())


def test_the_childs_table_has_the_parents_rows(
    recipe: Path, make_record: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    top = recipe.parent.parent
    monkeypatch.setattr(fork, "ROOT", top)
    child = fork.fork(recipe, "child")
    results = top / "results"
    parents = make_record("gspo", 1)
    record.write(parents, record.record_path(results / "demo", parents))
    first = build_report(child, results)
    assert "Forked from [demo](../demo/README.md)" in render_markdown(first)
    # `verify` finds the index as committed until the fork has a record
    assert told([first, build_report(recipe, results)]) == [build_report(recipe, results)]
    own = make_record("gspo", 1, accuracy=0.8, recipe="child")
    record.write(own, record.record_path(results / "child", own))
    report = build_report(child, results)
    rows = [r for r in report.rows if r.metric == "accuracy" and r.scale == "micro" and r.ours]
    assert [r.variant for r in rows] == [
        *("before RL", "gspo", "before RL (demo)", "gspo (demo)"),
    ]
    assert rows[1].ours.value > rows[3].ours.value  # type: ignore[union-attr]
    assert rows[3].records == ("../demo/micro/gspo-seed1.json",)
    assert all("(demo)" not in source.path for source in report.sources)
    short = render_markdown(report).partition("## In short")[2].partition("## Figures")[0]
    assert "| gspo |" in short and "| gspo (demo) |" in short
