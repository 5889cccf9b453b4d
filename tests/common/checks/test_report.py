"""The report of `check`: data on disk, and where an estimate exceeds what a recipe has."""

from dataclasses import replace

import pytest

from common.checks import report
from common.config import RunConfig, compose_run, recipe_folder
from data.parquet import prompt_row, write_parquet
from tests.composed import composed

GSPO = recipe_folder("gspo_moe")


def run(*overrides, scale="node8"):
    if not overrides:
        return composed("gspo_moe", scale, "gspo")
    return compose_run(GSPO, scale, "gspo", 1, list(overrides))


def warnings(*overrides):
    asked = run(*overrides)
    return " | ".join(report.estimate_warnings(asked, report.estimate(asked)))


def test_the_recipe_fits_its_own_estimate():
    assert warnings() == ""


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("recipe.gpu_memory_gib=40", "of a GPU's 40 in the update phase"),
        ("actor_rollout_ref.model.use_fused_kernels=false", "in the update phase"),
        ("actor_rollout_ref.rollout.gpu_memory_utilization=0.99", "in the rollout phase"),
        ("actor_rollout_ref.rollout.gpu_memory_utilization=0.2", "no sequence fits the KV cache"),
        ("recipe.disk_gb=700", "recipe.disk_gb=700"),
        ("recipe.models.moe.hub=Qwen/Qwen3-0.1B", "no estimate: Qwen/Qwen3-0.1B"),
    ],
)
def test_what_does_not_fit_is_a_warning(override, words):
    assert words in warnings(override)


def test_problems_are_counted_from_what_the_data_asks_for():
    assert report.problems(256) == 256
    assert report.problems([{"source": "math/test"}, {"source": "aime25"}]) == 5030
    cut = {"source": "math/train", "skip": 100}
    assert report.problems([cut, cut | {"take": 7}]) == 7407
    psr = composed("psr_nsr", "node8", "psr")
    # before and after: 256 samples of each test problem; 21 validations on MATH-500
    assert report.evaluated(psr, 140) == 2 * 256 * 5070 + 21 * 500


def test_a_small_model_without_gpus_has_no_estimate():
    micro = run(scale="micro")
    assert report.estimate(micro) is None and report.estimate_warnings(micro, None) == []


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(RunConfig, "run_dir", property(lambda self: tmp_path))
    return tmp_path


def write_all(folder, row):
    for name in ("train", "validation", "test", "livecodebench", "codeforces"):
        write_parquet(folder / f"data/{name}.parquet", [row])


def test_data_not_built_yet_is_a_warning(folder):
    (warning,) = report.data_warnings(run())
    assert "data/train.parquet" in warning and "data/test.parquet" in warning


def test_built_data_is_read(folder):
    good = prompt_row("dapo_math_17k", "1 + 1?", "2", "train", 0)
    write_all(folder, good)
    assert report.data_warnings(run()) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda row: row.pop("data_source"), "column 'data_source' is missing"),
        (lambda row: row.update(reward_model={"style": "rule"}), "reward_model"),
        (lambda row: row.update(extra_info={"split": "train"}), "extra_info"),
    ],
)
def test_data_that_verl_cannot_read_is_refused(folder, change, word):
    row = prompt_row("dapo_math_17k", "1 + 1?", "2", "train", 0)
    change(row)
    write_all(folder, row)
    with pytest.raises(ValueError, match=word):
        report.data_warnings(run())


def test_the_lines_name_every_part():
    text = "\n".join(report.lines(report.estimate(run())))
    for word in ("30.5B", "3.4B active", "gradients", "KV cache", "optimizer", "GPU-hours"):
        assert word in text
    replaying = replace(run(), variant="x")  # routes are counted with replay only
    assert "routes" not in "\n".join(report.lines(report.estimate(replaying)))
    assert "routes" in "\n".join(
        report.lines(report.estimate(composed("gspo_moe", "node8", "gspo_r2")))
    )
