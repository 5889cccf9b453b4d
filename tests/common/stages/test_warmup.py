"""Warm-ups: which responses of another arm are taught, and what their keys hold."""

import json
from pathlib import Path

import pytest

from common import runs
from common.config import RunConfig, compose_run, recipe_folder
from common.runs import STAGE_FILE, read_json, write_json
from common.stages import warmup as stage
from common.stages.record import read_curves
from data.parquet import MESSAGE_COLUMNS, read_parquet, write_parquet
from tests.common.stages.test_rejection import LINES, ROWS
from tests.composed import composed


def compose(variant, *overrides):
    return compose_run(recipe_folder("simplerl"), "micro", variant, 1, overrides)


def test_every_correct_response_is_taught_by_prompt_and_sample():
    chats = [row["messages"] for row in stage.correct(ROWS, LINES)]
    assert [(chat[0]["content"], chat[1]["content"]) for chat in chats] == [
        ("question 7", "long and right"),
        ("question 7", "right"),
        ("question 9", "first"),
        ("question 9", "other"),
    ]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Stages and runs below tmp_path; `zero` answers LINES without a model."""
    monkeypatch.setattr(runs, "STORE", tmp_path / "store")
    run_dir = property(lambda run: tmp_path / "runs" / run.label)
    monkeypatch.setattr(RunConfig, "run_dir", run_dir)
    asked = []

    def sample_and_grade(run, run_dir, model, folder, title, evaluation):
        asked.append((run.label, model, evaluation))
        counts = {"id": ["7", "8", "9"], "n": [2, 1, 2], "c": [2, 0, 2]}
        write_json(folder / "result.json", {"train": {"problems": counts}})
        (folder / "train.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in LINES[:2]))

    monkeypatch.setattr("common.stages.rejection.sample_and_grade", sample_and_grade)
    return tmp_path, asked


def finished(folder: Path, key: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STAGE_FILE, {"key": key})
    return folder


def distil(place, run, step=60, key="trained"):
    """What is distilled from a `zero` that was trained to a step, and the runs asked to train."""
    trained = []
    data = finished(place / "data", "data")
    (run.run_dir / "data").mkdir(parents=True, exist_ok=True)
    write_parquet(run.run_dir / "data" / "train.parquet", ROWS)

    def train(other):
        trained.append(other.label)
        finished(other.run_dir / "train", key)
        return other.run_dir / f"train/checkpoints/global_step_{step}/actor/huggingface"

    sampled = run.recipe.warmups[run.recipe.warmup].sampled
    return stage.distil(run, data, sampled, train), trained


def test_the_other_arm_is_trained_and_its_answers_are_kept_by_its_key_and_step(place):
    folder, asked = place
    first, trained = distil(folder, compose("warmup_self"))
    assert trained == ["zero"] and len(asked) == 1
    label, model, evaluation = asked[0]
    assert label == "warmup_self" and "runs/zero/train" in str(model)
    assert (evaluation.temperature, evaluation.top_p) == (1.0, 0.9)
    assert evaluation.benchmarks["train"].samples == 5
    rows = read_parquet(first / stage.CHOSEN, MESSAGE_COLUMNS)
    assert [row["messages"][1]["content"] for row in rows] == ["long and right", "right"]
    found = read_json(first / stage.STATISTICS)
    assert found["rejection/solved"] == found["rejection/all_correct"] == pytest.approx(2 / 3)
    # another arm that learns from the same answers shares them; another step or training does not
    assert distil(folder, compose("sft_self"))[0] == first and len(asked) == 1
    others = {distil(folder, compose("sft_self"), step=61)[0]}
    others.add(distil(folder, compose("sft_self"), key="again")[0])
    assert len(others | {first}) == 3


def test_overrides_of_rl_reach_the_other_arm(place):
    run = compose("warmup_self", "trainer.total_training_steps=3")
    _, trained = distil(place[0], run)
    assert trained[0].startswith("zero+")


def test_a_warm_up_alone_leaves_what_a_record_reads(place):
    folder, _ = place
    run = compose("sft_self")
    warmed = finished(folder / "store" / "warmed", "warmed")
    phase = {"trainer": {"experiment_name": "warmup"}}
    write_json(warmed / STAGE_FILE, {"key": "warmed", "inputs": {"phases": [phase]}})
    line = {"step": 1, "data": {"train/loss": 0.5}}
    (warmed / "warmup.jsonl").write_text(f"{json.dumps(line)}\n")
    runs.link(run.run_dir, "warmup", warmed)
    (run.run_dir / "distilled").mkdir()
    write_json(run.run_dir / "distilled" / stage.STATISTICS, {"rejection/correct": 0.9})
    start = finished(folder / "start", "start")
    model = stage.warm_up_alone(run, run.run_dir, folder / "data", start, ["run", "simplerl"])
    assert model == warmed.resolve() / "model"
    train = run.run_dir / "train"
    lines = [json.loads(text) for text in (train / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 0, "data": {"rejection/correct": 0.9}}, line]
    assert read_json(train / STAGE_FILE)["inputs"] == {"start": "start", "warmup": "warmed"}
    # another warm-up in the same folder is refused
    write_json(warmed / STAGE_FILE, {"key": "other", "inputs": {"phases": [phase]}})
    with pytest.raises(ValueError, match="another configuration"):
        stage.warm_up_alone(run, run.run_dir, folder / "data", start, [])


def test_models_on_the_way_are_evaluated_on_the_benchmarks_of_the_course(place, monkeypatch):
    folder, _ = place
    run = composed("qwen3_ppo", "micro", "sft_heavy")
    warmed = finished(folder / "store" / "warmed", "warmed")
    phase = {"trainer": {"experiment_name": "heavy"}}
    write_json(warmed / STAGE_FILE, {"key": "warmed", "inputs": {"phases": [phase]}})
    lines = {s: json.dumps({"step": s, "data": {"train/loss": 1 / s}}) for s in range(1, 51)}
    stage.write_metrics(warmed / "heavy.jsonl", lines)
    for step in (20, 40):
        (warmed / f"step{step}").mkdir()
    runs.link(run.run_dir, "warmup", warmed)
    asked = []

    def sample_and_grade(run, run_dir, model, folder, title, evaluation):
        asked.append((model.name, title, list(evaluation.benchmarks)))
        counts = {"id": ["1"], "n": [4], "c": [len(asked)], "t": [10], "h": [2.0]}
        write_json(folder / "result.json", {"general": {"problems": counts}})

    monkeypatch.setattr(stage, "sample_and_grade", sample_and_grade)
    start = finished(folder / "start", "start")
    finished(folder / "data", "data")
    stage.warm_up_alone(run, run.run_dir, folder / "data", start, [])
    assert asked == [
        ("step20", "sft_heavy at step 20", ["general"]),
        ("step40", "sft_heavy at step 40", ["general"]),
    ]
    curves = read_curves(run.run_dir / "train" / "metrics.jsonl")
    found = {name: curves["metrics"][f"course/general/{name}"] for name in ("accuracy", "entropy")}
    logged = {s: i for i, s in enumerate(curves["steps"])}
    assert [found["accuracy"][logged[s]] for s in (20, 21, 40)] == [0.25, None, 0.5]
    assert found["entropy"][logged[40]] == pytest.approx(0.2)
    # done before: nothing is evaluated again
    stage.warm_up_alone(run, run.run_dir, folder / "data", start, [])
    assert len(asked) == 2


@pytest.mark.parametrize(("lost", "kept"), [("false", "warmed"), ("true", "base")])
def test_a_lost_warm_up_is_made_and_rl_starts_from_the_base(place, lost, kept, monkeypatch):
    place, _ = place
    override = f"+recipe.warmups.foreign.lost={lost}"
    run = compose("warmup_foreign", override)
    base, warmed = place / "base", place / "warmed"
    monkeypatch.setattr(stage, "fine_tune", lambda *_: warmed)
    assert stage.warm_up(run, place, base, None) == place / kept
    assert (run.run_dir / "warmup").readlink().name == "warmed"
