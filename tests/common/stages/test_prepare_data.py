"""Stage `data`: built once for equal inputs, anew when a template or a published set changes."""

from dataclasses import replace

import pytest

from common import runs
from common.stages.prepare_data import prepare_data
from data import prompts, store
from data.parquet import PROMPT_COLUMNS, read_parquet
from tests.composed import composed

ROWS = [{"problem": f"p{i}", "answer": str(i)} for i in range(9)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose data are built by `from_sources`: run(template)."""
    monkeypatch.setattr(runs, "STORE", tmp_path / "store")
    monkeypatch.setattr(store, "rows", lambda name: ROWS)
    found = composed("gspo_moe", "micro", "gspo")

    def with_options(**options):
        part = {"train": [{"source": "gsm8k/train"}], "tests": {"test": [{"source": "gsm8k/test"}]}}
        data = replace(found.recipe.data, builder="from_sources", options=part | options)
        return replace(found, recipe=replace(found.recipe, data=data))

    return with_options


def test_equal_inputs_are_built_once(run, monkeypatch):
    folder = prepare_data(run(template="plain", validation=2))
    rows = read_parquet(folder / "train.parquet", PROMPT_COLUMNS)
    assert [row["prompt"][0]["content"] for row in rows] == [f"p{i}" for i in range(2, 9)]
    monkeypatch.setattr(store, "rows", lambda name: pytest.fail("built again"))
    assert prepare_data(run(template="plain", validation=2)) == folder


def test_another_template_or_another_text_of_it_is_another_input(run, tmp_path, monkeypatch):
    folders = {prepare_data(run(template=name)) for name in ("plain", "simplerl")}
    monkeypatch.setattr(prompts, "FOLDER", tmp_path)
    (tmp_path / "plain.txt").write_text("# changed\n[user]\n{problem}!\n")
    prompts.load.cache_clear()
    folders.add(prepare_data(run(template="plain")))
    prompts.load.cache_clear()
    assert len(folders) == 3


def test_wrong_options_leave_nothing_behind(run, tmp_path):
    for options, words in (
        ({"template": "plain", "validaton": 2}, "unexpected keyword argument 'validaton'"),
        ({"template": "plain", "validation": 9}, "9 held out of 9"),
    ):
        with pytest.raises(ValueError, match=words):
            prepare_data(run(**options))
    assert not list((tmp_path / "store").glob("data-*[!l]/stage.json"))
