"""Loggers beside the trainer: fed while it runs, and only a warning when they fail."""

import json
import os
import time

import pytest
from verl.utils.tracking import Tracking

from common.process import environment, run_child
from common.runs import write_json
from common.stages import loggers

pytestmark = pytest.mark.component


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(loggers, "say", lines.append)
    return lines


@pytest.fixture
def folder(tmp_path):
    trainer = {"project_name": "p", "experiment_name": "e"}
    write_json(tmp_path / "config.yaml", {"trainer": trainer})
    return tmp_path


def env(folder):
    keyless = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    service = {"TENSORBOARD_DIR": str(folder / "tensorboard"), "HOME": str(folder)}
    return keyless | environment("cpu") | service | {"WANDB_DIR": str(folder)}


def line(step):
    return json.dumps({"step": step, "data": {"critic/score/mean": step / 10}}) + "\n"


def until_one_is_said(running, said):
    deadline = time.time() + 240
    while not said and time.time() < deadline:
        running.poll()
        time.sleep(0.1)


def test_a_logger_gets_every_line(folder, said):
    # one that fails does not take the others along
    names = ["console", "wandb", "tensorboard", "file"]
    with loggers.Loggers(names, folder, env(folder)) as running:
        with (folder / "attempt.jsonl").open("w") as file:
            file.write(line(1))
        until_one_is_said(running, said)
        with (folder / "attempt.jsonl").open("a") as file:
            file.write(line(2))
        # the trainer's end takes its own processes along, not the loggers
        run_child(["-c", "pass"], env(folder), folder / "log.txt")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    scalars = found.Scalars("critic/score/mean")
    assert [(s.step, round(s.value, 3)) for s in scalars] == [(1, 0.1), (2, 0.2)]
    (warning,) = said
    assert "trainer.logger=wandb failed: UsageError" in warning


def test_one_without_its_package_is_one_warning_while_the_run_goes_on(folder, said):
    with loggers.Loggers(["mlflow"], folder, env(folder)) as running:
        until_one_is_said(running, said)
    (warning,) = said
    assert "trainer.logger=mlflow failed: ModuleNotFoundError" in warning
    assert "the run goes on" in warning


def test_without_other_loggers_nothing_is_started(folder, said):
    with loggers.Loggers(["console", "file"], folder, env(folder)) as running:
        running.poll()
        assert running.child is None
    assert not said and not (folder / "loggers.txt").exists()


def test_the_known_ones_are_verls():
    assert set(loggers.KNOWN) == set(Tracking.supported_backend) - {"rl_insight"}
