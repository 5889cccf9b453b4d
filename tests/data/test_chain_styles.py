"""Chains in several styles: right answers, what each file teaches, disjoint splits, equal bytes."""

import re

import pytest

from data import chain_styles as styles
from data.arithmetic_chain import Chain
from tests.data.built import prompts, taught
from tests.data.test_arithmetic_chain import work_out

SMALL = {
    "operations": 3,
    "easy_operations": 2,
    "train": 80,
    "easy": 60,
    "taught": 50,
    "validation": 20,
    "test": 40,
    "sft": 400,
    "sft_noisy": 100,
    "noise": 0.1,
    "code": 0.4,
    "unboxed": 0.5,
}
HELD_OUT = ("validation", "test_2", "test_3", "test_4", "reverse", "sort")


def right(prompt):
    """The answer by a second, independent method."""
    if prompt[0] in "rs":
        digits = prompt[1:-1]
        return digits[::-1] if prompt[0] == "r" else "".join(sorted(digits))
    return work_out(prompt)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("styles")
    styles.build(path, 1, **SMALL)
    return path


def test_a_chain_in_every_style():
    chain = Chain((2, 9, 1, 4), "--*")
    assert {s: styles.solution(chain, s) for s in ("steps", "code", "terse", "long")} == {
        "steps": "2-9=3;3-1=2;2*4=8;\\boxed{8}",
        "code": "x=2;x-=9;x-=1;x*=4;print(x);\\boxed{8}",
        "terse": "3;2;8;\\boxed{8}",
        "long": "2-9=3;3-1=2;2*4=8;wait:2-9=3;3-1=2;2*4=8;\\boxed{8}",
    }


def test_every_answer_is_right(folder):
    for split in (*HELD_OUT, "train", "easy"):
        for prompt, truth in prompts(folder, split):
            assert right(prompt) == truth
    for name in ("sft", "foreign", "dataset"):
        for prompt, response in taught(folder, name):
            assert re.search(r"(?:\\boxed\{|;)(\d+)\}?$", response)[1] == right(prompt)


def test_what_the_files_teach(folder):
    train = [prompt for prompt, _ in prompts(folder, "train")]
    for name, mark, length in (("foreign", "wait:", 50), ("dataset", ";\\boxed", 15)):
        lessons = taught(folder, name)
        assert [prompt for prompt, _ in lessons] == train[:50]
        assert all(mark in text and len(text) == length for _, text in lessons)
    chains = [text for prompt, text in taught(folder, "sft") if prompt[0] not in "rs"]
    code = [text for text in chains if "print" in text]
    assert 0.3 < len(code) / len(chains) < 0.5
    assert 0.3 < sum("boxed" in text for text in code) / len(code) < 0.7
    assert all("boxed" in text for text in chains if "print" not in text)
    assert {len(p) for p, _ in prompts(folder, "easy")} == {6} and {len(p) for p in train} == {8}


def test_held_out_problems_are_in_no_other_file_and_follow_no_seed(folder, tmp_path):
    held_out = [p for split in HELD_OUT for p, _ in prompts(folder, split)]
    assert len(set(held_out)) == len(held_out) == 20 + 5 * 40
    others = {p for split in ("train", "easy") for p, _ in prompts(folder, split)}
    others |= {p for name in ("sft", "sft_noisy") for p, _ in taught(folder, name)}
    assert not others & set(held_out)
    for name, seed in (("again", 1), ("other", 2)):
        styles.build(tmp_path / name, seed, **SMALL)
    for path in folder.iterdir():
        content = path.read_bytes()
        assert (tmp_path / "again" / path.name).read_bytes() == content
        same = (tmp_path / "other" / path.name).read_bytes() == content
        assert same == (path.stem in HELD_OUT)


@pytest.mark.parametrize("change", [{"easy_operations": 3}, {"taught": 81}])
def test_options_that_do_not_fit_are_refused(tmp_path, change):
    with pytest.raises(ValueError, match="no more taught than train"):
        styles.build(tmp_path, 1, **(SMALL | change))
