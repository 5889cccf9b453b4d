"""RGB and NoMIRACL become prompts with passages; what each task needs is in its gold answer."""

import hashlib
import json

import pytest

from common.rewards.registry import get_grader
from data import retrieval_benchmarks, store
from data.parquet import PROMPT_COLUMNS, read_parquet
from data.retrieval_benchmarks import build


def built(folder, **part):
    build(folder, 1, files={"test": part})
    return read_parquet(folder / "test.parquet", PROMPT_COLUMNS)


def documents(row):
    """The text between the template's headings."""
    return row["prompt"][-1]["content"]


def raw(name):
    return store.rows(name)


@pytest.mark.parametrize(
    ("source", "noise", "task", "rows"),
    [
        ("rgb_zh/retrieval", 0.0, "retrieval", 300),
        ("rgb_zh/retrieval", 1.0, "rejection", 300),
        ("rgb_zh/integration", 0.4, "integration", 100),
        ("rgb_zh/counterfactual", 0.0, "counterfactual", 100),
        ("rgb_en/counterfactual", 0.0, "counterfactual", 100),
    ],
)
def test_rgb(shared, tmp_path, source, noise, task, rows):
    found = built(tmp_path, source=source, template="rag_zh", noise=noise)
    assert len(found) == rows
    language = source[4:6]
    grade = get_grader("rgb").grade
    for row, published in zip(found, raw(source), strict=True):
        gold = json.loads(row["reward_model"]["ground_truth"])
        assert row["data_source"] == f"rgb_{language}_{task}"
        assert (gold["task"], gold["language"]) == (task, language)
        assert gold["query"] == published["problem"] and published["problem"] in documents(row)
        right, unfit = (json.loads(published[key]) for key in ("passages", "noise"))
        given = [p for p in unfit if p in documents(row)]
        if task == "rejection":
            # some passages are a part of another
            assert len(given) >= min(5, len(unfit))
            assert not any(p in documents(row) for p in set(right) - set(unfit) if len(p) > 40)
        if task == "retrieval":
            assert sum(p in documents(row) for p in right) >= min(5, len(right))
        if task == "integration":
            for group in right:
                assert any(p in documents(row) for p in group)
        # the grader reads what the builder wrote
        grade({"response": None, "gold": row["reward_model"]["ground_truth"]})


def test_rgb_is_the_same_for_every_seed_and_noise_displaces_passages(shared, tmp_path):
    part = {"source": "rgb_zh/retrieval", "template": "rag_zh"}
    for name, seed, noise in (("a", 1, 0.6), ("b", 2, 0.6), ("c", 1, 0.2)):
        build(tmp_path / name, seed, files={"test": part | {"noise": noise}})
    read = {n: (tmp_path / n / "test.parquet").read_bytes() for n in "abc"}
    assert read["a"] == read["b"] != read["c"]
    few = read_parquet(tmp_path / "a/test.parquet", PROMPT_COLUMNS)
    for row, published in list(zip(few, raw("rgb_zh/retrieval"), strict=True))[:50]:
        right, unfit = (json.loads(published[key]) for key in ("passages", "noise"))
        if len(right) >= 2 and len(unfit) >= 3:
            assert right[0] in documents(row) and unfit[2] in documents(row)


def test_rgb_passages_are_those_of_the_original(shared):
    # the hash is of what its `processdata` returns, seeded as it is, for the same settings
    digest = hashlib.sha256()
    for source, noise in (
        ("rgb_zh/retrieval", 0.6),
        ("rgb_zh/retrieval", 1.0),
        ("rgb_zh/integration", 0.4),
        ("rgb_en/counterfactual", 0.4),
    ):
        part = retrieval_benchmarks.Part(source, "rag", noise=noise)
        for _, passages, _ in retrieval_benchmarks._rgb(part, source[4:6], source[7:]):
            digest.update(json.dumps(passages).encode())
    assert digest.hexdigest() == (
        "4b1bfe6a065125f0cf3c424eff67ed8832db65c7581fe767d63343139a34a616"
    )


NOMIRACL = [
    {"problem": f"q{i}", "id": str(i), "answerable": i % 3 > 0,
     "passages": json.dumps([f"p{i}.{j}" for j in range(7)])}
    for i in range(30)
]  # fmt: skip


def test_nomiracl(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "rows", lambda name: NOMIRACL)
    part = {"source": "nomiracl_en/test", "template": "nomiracl"}
    rows = built(tmp_path, **part)
    assert [r["reward_model"]["ground_truth"] for r in rows] == ["relevant"] * 20 + [
        "non_relevant"
    ] * 10
    assert "p1.0\np1.1\np1.2\np1.3\np1.4\n" in documents(rows[0]) and "p1.5" not in documents(
        rows[0]
    )
    grade = get_grader("nomiracl").grade
    answer = {"response": "I don't know", "gold": rows[-1]["reward_model"]["ground_truth"]}
    assert grade(answer).outcome.value == "correct"
    sampled = built(tmp_path, **part, take=4)
    assert len(sampled) == 8 and built(tmp_path, **part, take=4) == sampled
    for row in built(tmp_path, **part, take=4, kbqa=True):
        gold = json.loads(row["reward_model"]["ground_truth"])
        get_grader("kbqa").grade({"response": "It is 3.", "gold": gold})
        assert gold["answerable"] == (int(row["extra_info"]["id"]) % 3 > 0)
    for answer, gold in ((True, "relevant"), (False, "non_relevant")):
        half = built(tmp_path, **part, take=4, answerable=answer)
        assert [row["reward_model"]["ground_truth"] for row in half] == [gold] * 4


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"source": "gsm8k/test"}, "gsm8k/test is neither of RGB nor of NoMIRACL"),
        ({"source": "rgb_zh/retrieval", "noise": 1.5}, "noise and correct from 0 to 1"),
        ({"source": "rgb_zh/retrieval", "passages": 0}, "passages from 1 on"),
        ({"source": "rgb_zh"}, "rgb_zh has several splits"),
        ({"source": "rgb_zh/retrieval", "noises": 1}, "files.test.noises: unknown key"),
    ],
)
def test_wrong_options_are_named(tmp_path, part, words):
    with pytest.raises(ValueError, match=words):
        built(tmp_path, template="rag", **part)
