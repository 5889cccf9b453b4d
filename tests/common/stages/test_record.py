"""What a record says of the data files, and which curves it keeps."""

import re

import pytest

from common.config import recipe_folders
from common.fork import forked_from
from common.stages.record import CURVES, prompt_templates
from data.parquet import prompt_row, write_parquet

A, B = "a" * 64, "b" * 64


def test_the_templates_of_a_file_are_recorded(tmp_path):
    rows = [
        prompt_row("x", "1", "1", "train", i, extra={"template": f"{name} {sha}"})
        for i, (name, sha) in enumerate([("plain", A), ("boxed", B), ("plain", A)])
    ]
    write_parquet(tmp_path / "train.parquet", rows)
    assert prompt_templates(tmp_path / "train.parquet") == {"prompts": {"plain": A, "boxed": B}}
    messages = [{"role": "user", "content": "1"}]
    write_parquet(tmp_path / "sft.parquet", [{"messages": messages, "template": f"plain {A}"}])
    assert prompt_templates(tmp_path / "sft.parquet") == {"prompts": {"plain": A}}


def test_files_without_templates_say_nothing(tmp_path):
    write_parquet(tmp_path / "chain.parquet", [prompt_row("x", "1", "1", "train", 0)])
    assert prompt_templates(tmp_path / "chain.parquet") == {}
    write_parquet(tmp_path / "sft.parquet", [{"messages": [{"role": "user", "content": "1"}]}])
    assert prompt_templates(tmp_path / "sft.parquet") == {}


# a fork's page is its author's
PAPERS = [folder for folder in recipe_folders() if forked_from(folder) is None]


@pytest.mark.parametrize("folder", PAPERS, ids=lambda folder: folder.name)
def test_the_record_keeps_the_metrics_that_the_recipe_explains(folder):
    page = folder / "README.md"
    table = page.read_text().split("the record keeps ", 1)[1].split("\n\n")[1]
    named = [
        key for line in table.splitlines() for key in re.findall(r"`(.*?)`", line.split("|")[1])
    ]
    assert len(named) > 10
    assert all(key.startswith(CURVES) for key in named), named
