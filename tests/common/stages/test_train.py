"""What the train stage decides before and after verl runs: resume points, metrics, refusals."""

import json
import os

import pytest

from common.config import compose_run, recipe_folder
from common.health import Watch
from common.runs import STAGE_FILE, write_json
from common.stages import train as stage

GSPO = recipe_folder("gspo_moe")


def line(step, value=0.0):
    return json.dumps({"step": step, "data": {"critic/score/mean": value}})


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "run" / "train"
    path.mkdir(parents=True)
    return path


def checkpoint(folder, step, whole=True):
    path = folder / "checkpoints" / f"global_step_{step}"
    (path / "actor").mkdir(parents=True)
    if whole:
        (path / "data.pt").write_bytes(b"x")
        (folder / "checkpoints" / "latest_checkpointed_iteration.txt").write_text(str(step))


def test_metrics_hold_every_step_once_in_order_after_a_merge(folder):
    (folder / "metrics.jsonl").write_text("\n".join([line(1), line(2, 0.1), line(3)]) + "\n")
    (folder / "attempt.jsonl").write_text("\n".join([line(2, 0.2), line(4)]) + '\n{"step": 5, "da')
    stage.merge_attempt(folder)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(text)["step"] for text in lines] == [1, 2, 3, 4]
    assert json.loads(lines[1])["data"]["critic/score/mean"] == 0.2
    assert not (folder / "attempt.jsonl").exists()


def test_resume_takes_the_newest_whole_checkpoint_whose_step_is_logged(folder):
    logged = {1: "", 2: "", 4: ""}
    assert stage.last_whole_checkpoint(folder, logged) == 0
    checkpoint(folder, 2)
    checkpoint(folder, 4)
    assert stage.last_whole_checkpoint(folder, logged) == 4
    # killed between the checkpoint and the log line of step 6: step 6 is done again
    checkpoint(folder, 6)
    assert stage.last_whole_checkpoint(folder, logged) == 4
    # pruned by verl: the weights of step 4 are gone
    (folder / "checkpoints/global_step_4/actor").rmdir()
    assert stage.last_whole_checkpoint(folder, logged) == 2
    (folder / "checkpoints/global_step_4/actor").mkdir()
    # killed in the middle of writing step 8
    checkpoint(folder, 8, whole=False)
    assert stage.last_whole_checkpoint(folder, logged | {8: ""}) == 4
    # killed while verl rewrote its tracker
    (folder / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("")
    assert stage.last_whole_checkpoint(folder, logged) == 4


def test_what_is_newer_than_the_resume_point_is_dropped_and_old_ones_are_limited(folder):
    def left():
        return sorted(stage.checkpoints(folder))

    for step in (2, 4, 6):
        checkpoint(folder, step)
    checkpoint(folder, 8, whole=False)
    stage.drop_checkpoints(folder, 6, None)
    assert left() == [2, 4, 6]
    stage.drop_checkpoints(folder, 4, 2)
    assert left() == [4]


def test_an_attempt_that_was_killed_lasts_until_its_last_word(folder):
    assert stage.read_attempts(folder) == []
    write_json(
        folder / "attempts.json",
        [{"step": 0, "started": 100.0, "seconds": 7.0}, {"step": 2, "started": 1000.0}],
    )
    (folder / "log.txt").write_text("the last word")
    os.utime(folder / "log.txt", (1030, 1030))
    assert [a["seconds"] for a in stage.read_attempts(folder)] == [7.0, 30.0]


def test_the_scratch_folder_of_a_killed_run_is_found_again(folder):
    first = stage.make_scratch(folder)
    second = stage.make_scratch(folder)
    assert not os.path.exists(first) and os.path.isdir(second)
    stage.drop_scratch(folder)
    assert not os.path.exists(second) and not list(folder.iterdir())


def test_no_other_folder_than_a_scratch_folder_is_removed(folder, tmp_path):
    (tmp_path / "precious").mkdir()
    (folder / "scratch").symlink_to(tmp_path / "precious")
    stage.drop_scratch(folder)
    assert (tmp_path / "precious").is_dir()


def test_another_configuration_in_the_folder_is_refused_with_the_first_difference(folder):
    inputs = {"config": {"actor.optim.lr": 1e-4}, "source": {"a.py": "1"}}
    stage.refuse_other_run(folder, inputs)
    write_json(folder / "inputs.json", inputs)
    stage.refuse_other_run(folder, inputs)
    changed = {"config": {"actor.optim.lr": 2e-4}, "source": {"a.py": "1"}}
    with pytest.raises(ValueError, match="actor.optim.lr: 0.0001 -> 0.0002") as error:
        stage.refuse_other_run(folder, changed)
    assert "--fresh" in str(error.value) and "\n" not in str(error.value)


@pytest.fixture
def prepared(tmp_path):
    for name in ("data", "start"):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / STAGE_FILE, {"key": name})
    return tmp_path / "data", tmp_path / "start"


def compose(*overrides):
    return compose_run(GSPO, "micro", "gspo", 1, list(overrides))


def test_inputs_leave_out_steps_and_logging_and_keep_the_algorithm(prepared):
    plain = stage.train_inputs(compose(), *prepared)
    assert stage.train_inputs(compose("trainer.total_training_steps=9"), *prepared) == plain
    assert stage.train_inputs(compose("trainer.logger=[console]"), *prepared) == plain
    clipped = compose("actor_rollout_ref.actor.clip_ratio_low=0.1")
    assert stage.train_inputs(clipped, *prepared) != plain
    assert any(name.startswith("common/plugin/") for name in plain["source"])
    assert any(name.startswith("requirements/") for name in plain["source"])


def test_fewer_steps_than_the_run_has_are_refused(prepared, tmp_path):
    run, run_dir = compose("trainer.total_training_steps=2"), tmp_path / "run"
    folder = run_dir / "train"
    folder.mkdir(parents=True)
    write_json(folder / "inputs.json", stage.train_inputs(run, *prepared))
    (folder / "metrics.jsonl").write_text("".join(line(s) + "\n" for s in (1, 2, 3)))
    with pytest.raises(ValueError, match="has 3 steps already"):
        stage.train(run, run_dir, *prepared, [])


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "stopped before the marker"])
def test_a_finished_run_is_not_started_again(prepared, tmp_path, monkeypatch, marked):
    run, run_dir = compose("trainer.total_training_steps=2"), tmp_path / "run"
    folder = run_dir / "train"
    exported = folder / "checkpoints/global_step_2/actor/huggingface"
    exported.mkdir(parents=True)
    write_json(folder / "inputs.json", stage.train_inputs(run, *prepared))
    if marked:
        write_json(folder / STAGE_FILE, {"key": "as it was"})
    (folder / "metrics.jsonl").write_text(line(1) + "\n" + line(2) + "\n")
    monkeypatch.setattr(stage, "launch", lambda *_: pytest.fail("started again"))
    assert stage.train(run, run_dir, *prepared, []) == exported
    assert (json.loads((folder / STAGE_FILE).read_text())["key"] == "as it was") == marked


def test_what_a_run_comes_from_is_written_down_before_it_starts(prepared, tmp_path, monkeypatch):
    class Started(Exception):
        pass

    def launch(*_):
        raise Started

    monkeypatch.setattr(stage, "launch", launch)
    run, run_dir = compose(), tmp_path / "run"
    path = run_dir / "train" / "provenance.json"
    with pytest.raises(Started):
        stage.train(run, run_dir, *prepared, ["run", "gspo_moe"])
    first = json.loads(path.read_text())
    assert first["argv"] == ["run", "gspo_moe"]
    assert first["provenance"]["lock"]["file"] in ("micro.txt", "node8.txt")
    with pytest.raises(Started):
        stage.train(run, run_dir, *prepared, ["run", "gspo_moe", "seed=1"])
    assert json.loads(path.read_text()) == first


def test_a_resumed_run_knows_what_was_unhealthy_before(prepared, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(stage, "launch", lambda *given: seen.append(given))
    run, run_dir = compose(), tmp_path / "run"
    checkpoint(run_dir / "train", 2)
    write_json(run_dir / "train" / "inputs.json", stage.train_inputs(run, *prepared))
    lines = [json.dumps({"step": s, "data": {"actor/kl_loss": s + 0.0}}) for s in (1, 2, 3)]
    (run_dir / "train" / "metrics.jsonl").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="ended before step"):
        stage.train(run, run_dir, *prepared, [])
    (*_, resume, health) = seen[0]
    (warning,) = health.summary()["kl_spike"].warnings
    assert (resume, warning.first, warning.worst) == (2, 2, 2.0)  # step 3 is done again
    assert not health.see(3, {"actor/kl_loss": 9.0})


def test_verl_gets_absolute_paths_and_a_resume_point(prepared, tmp_path, monkeypatch):
    seen = {}

    def run_child(command, env, log, follow):
        seen["config"] = json.loads((tmp_path / "run/train/config.yaml").read_text())
        seen["env"] = env

    monkeypatch.setattr(stage, "run_child", run_child)
    run, run_dir = compose(), tmp_path / "run"
    (run_dir / "train").mkdir(parents=True)
    checkpoint(run_dir / "train", 10)
    stage.launch(run, run_dir, run_dir / "train", 50, 10, Watch())
    config = seen["config"]
    assert config["data"]["train_files"] == str(run_dir / "data/train.parquet")
    assert config["trainer"]["resume_from_path"].endswith("train/checkpoints/global_step_10")
    assert config["trainer"]["val_before_train"] is False
    assert "recipe" not in config
    assert config["trainer"]["logger"] == ["console", "file"]
    assert stage.read_attempts(run_dir / "train")[-1]["step"] == 10
    stage.launch(run, run_dir, run_dir / "train", 50, 0, Watch())
    assert seen["config"]["trainer"]["resume_mode"] == "disable"
    assert not (run_dir / "train/checkpoints").exists()
    only_console = compose("trainer.logger=[console]")
    stage.launch(only_console, run_dir, run_dir / "train", 50, 0, Watch())
    assert seen["config"]["trainer"]["logger"] == ["console", "file"]
    # nothing is left in the scratch folder that Ray's files went to
    assert not stage.Path(seen["env"]["TMPDIR"]).exists()
