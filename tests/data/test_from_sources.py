"""Parquet files from published problems, on real rows where they are here."""

import json

import pytest

from data import prompts, store
from data.from_sources import build
from data.parquet import MESSAGE_COLUMNS, PROMPT_COLUMNS, read_parquet

ROWS = {
    "numbers": [
        {
            "problem": f"p{i}",
            "answer": str(i) if i % 5 else "x",
            "level": i % 6,
            "solution": f"s{i}",
        }
        for i in range(30)
    ],
    "gaps": [{"problem": "a", "answer": ""}, {"problem": "b", "answer": "1"}],
    "mapping": [{"problem": "[1, 2] 3", "numbers": [1, 2], "target": 3, "answer": {"target": 3}}],
}


@pytest.fixture
def made_up(declare, monkeypatch):
    declare([{"at": "mirror", "files": [{"mirror": "x"}]}])
    import yaml

    from data import sources

    entry = yaml.safe_load(sources.FILE.read_text())["sums"]
    sources.FILE.write_text(yaml.safe_dump(dict.fromkeys(ROWS, entry)))
    sources.sources.cache_clear()
    monkeypatch.setattr(store, "rows", lambda name: ROWS[name])


def prompts_of(path):
    return [row["prompt"][-1]["content"] for row in read_parquet(path, PROMPT_COLUMNS)]


def test_train_validation_tests_and_sft_are_apart(made_up, tmp_path):
    build(
        tmp_path,
        1,
        template="plain",
        train=[{"source": "numbers", "integers": True}],
        validation=4,
        tests={"hard": [{"source": "numbers", "levels": [5]}, {"source": "gaps"}]},
        sft=[{"source": "numbers", "take": 2}],
    )
    validation, train = (
        prompts_of(tmp_path / "validation.parquet"),
        prompts_of(tmp_path / "train.parquet"),
    )
    assert validation == ["p1", "p2", "p3", "p4"]
    assert train == [f"p{i}" for i in range(6, 30) if i % 5]
    row = read_parquet(tmp_path / "train.parquet", PROMPT_COLUMNS)[0]
    assert row["data_source"] == "numbers" and row["ability"] == "math"
    assert row["reward_model"] == {"style": "rule", "ground_truth": "6"}
    assert row["extra_info"] == {
        "split": "train", "index": 0, "level": 0, "template": prompts.load("plain").label,
    }  # fmt: skip
    hard = read_parquet(tmp_path / "hard.parquet", PROMPT_COLUMNS)
    # a row without an answer is left out; rows of two sets stand in one file
    assert [r["prompt"][0]["content"] for r in hard] == ["p5", "p11", "p17", "p23", "p29", "b"]
    assert [r["data_source"] for r in hard] == ["numbers"] * 5 + ["gaps"]
    assert [r["extra_info"]["index"] for r in hard] == list(range(6))
    messages = read_parquet(tmp_path / "sft.parquet", MESSAGE_COLUMNS)[1]["messages"]
    assert messages == [{"role": "user", "content": "p1"}, {"role": "assistant", "content": "s1"}]


def test_solutions_by_name_and_by_length(made_up, tmp_path):
    short = [{"source": "numbers", "longest": 2, "take": 3}]
    build(
        tmp_path,
        1,
        template="plain",
        train=[{"source": "numbers"}],
        tests={},
        sft={"short": short, "last": [{"source": "numbers", "skip": 29}]},
    )
    for name, texts in (("short", ["s0", "s1", "s2"]), ("last", ["s29"])):
        rows = read_parquet(tmp_path / f"{name}.parquet", MESSAGE_COLUMNS)
        assert [row["messages"][1]["content"] for row in rows] == texts
    assert not (tmp_path / "sft.parquet").exists()
    with pytest.raises(ValueError, match=r"options.sft.long\[0\]: numbers has 10 such rows"):
        build(
            tmp_path,
            1,
            template="plain",
            train=[{"source": "numbers"}],
            tests={},
            sft={"long": [short[0] | {"take": 11}]},
        )


def test_shuffle_skip_take_and_a_template_of_its_own(made_up, tmp_path):
    part = {"source": "numbers", "shuffle": 42, "skip": 3, "take": 5, "template": "psr_nsr"}
    for folder, seed in (("a", 1), ("b", 2)):
        build(
            tmp_path / folder,
            seed,
            template="plain",
            train=[part | {"data_source": "other"}],
            tests={},
        )
    assert (tmp_path / "a/train.parquet").read_bytes() == (
        tmp_path / "b/train.parquet"
    ).read_bytes()
    rows = read_parquet(tmp_path / "a/train.parquet", PROMPT_COLUMNS)
    assert [m["role"] for m in rows[0]["prompt"]] == ["system", "user"]
    assert {row["data_source"] for row in rows} == {"other"} and len(rows) == 5
    import datasets

    order = datasets.Dataset.from_dict({"i": list(range(30))}).shuffle(seed=42)["i"][3:8]
    assert [r["prompt"][-1]["content"].split("\n")[0] for r in rows] == [f"p{i}" for i in order]


def test_a_mapping_as_ground_truth(made_up, tmp_path):
    build(tmp_path, 1, template="countdown_raw", train=[{"source": "mapping"}], tests={})
    (row,) = read_parquet(tmp_path / "train.parquet", PROMPT_COLUMNS)
    assert json.loads(row["reward_model"]["ground_truth"]) == {"target": 3}
    assert (
        "Using the numbers [1, 2], create an equation that equals 3." in row["prompt"][0]["content"]
    )


@pytest.mark.parametrize(
    ("train", "changed", "words"),
    [
        ([{"source": "numbers", "take": 99}], {}, "train.0.: numbers has 30 such rows, fewer than"),
        ([{"source": "numbers", "skip": 99}], {}, "fewer than skip=99"),
        ([{"source": "numbers", "level": [5]}], {}, r"train\[0\].level: unknown key; .* levels"),
        ([{"source": "gaps", "levels": [5]}], {}, "gaps has no field 'level'"),
        ([{"source": "numbers"}], {"validation": 30}, "validation: 30 held out of 30"),
        ([{"source": "numbers"}], {"template": "plane"}, "no prompt template 'plane'"),
        ([{"source": "numbers"}], {"template": "rag"}, "rag: the problem has no 'documents'"),
        ([{"source": "numbers"}], {"sft": [{"source": "gaps"}]}, "gaps has no worked solutions"),
    ],
)
def test_wrong_options_are_named(made_up, tmp_path, train, changed, words):
    options = {"template": "plain", "train": train, "tests": {}}
    with pytest.raises(ValueError, match=words):
        build(tmp_path, 1, **(options | changed))


@pytest.mark.parametrize(
    ("name", "template", "rows"),
    [
        ("gsm8k/train", "gemma_voting", 7473),
        ("math/train", "psr_nsr", 7498),
        ("math500", "simplerl", 500),
        ("simplerl_8k", "simplerl", 8521),
        ("aime24", "boxed_integer", 30),
        ("aime25", "psr_nsr", 30),
        ("aime_2021_2024", "plain", 103),
        ("amc23", "psr_nsr", 40),
        ("amc_2022_2023", "plain", 83),
        ("minerva", "simplerl", 272),
        ("olympiadbench", "simplerl", 675),
        ("college_math", "simplerl", 2818),
        ("gaokao2023en", "simplerl", 383),
        ("kk_logic_rl/train", "plain", 4500),
        ("kk_logic_rl/test", "plain", 500),
        ("countdown_tinyzero/test", "countdown_raw", 2000),
        ("ifeval", "plain", 541),
    ],
)
def test_every_real_set_becomes_verl_rows(shared, tmp_path, name, template, rows):
    build(tmp_path, 1, template=template, train=[{"source": name}], tests={})
    found = read_parquet(tmp_path / "train.parquet", PROMPT_COLUMNS)
    assert len(found) == rows
    for row in found:
        assert row["data_source"] == name.partition("/")[0]
        assert row["reward_model"]["ground_truth"] and row["prompt"][-1]["content"]
        assert row["extra_info"]["template"].startswith(template)
    if name in ("aime24", "aime25", "aime_2021_2024"):
        golds = [row["reward_model"]["ground_truth"] for row in found]
        assert all(gold.isdecimal() and 0 <= int(gold) <= 999 for gold in golds)
    if name == "aime25":
        assert "336" in golds
