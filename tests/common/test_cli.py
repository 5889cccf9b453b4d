"""The command line: help, bad input, exit codes; every error is one line on standard error."""

import json
import os
import subprocess
import sys

import pytest

from common import cli
from common.checks import visible_gpus
from common.config import ROOT
from common.process import StageError


def command(*words, **env):
    return subprocess.run(
        [sys.executable, "-m", "common", *words],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def errors(done):
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def test_help_names_every_verb_and_example():
    text = command("--help").stdout
    verbs = ("run", "check", "table", "claims", "plot", "sweep", "analyse", "verify", "fork")
    for word in (*verbs, "diff", "doctor", "export", "scale=node8", "seed=1,2,3"):
        assert word in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "gspo_mo"], ["no recipe 'gspo_mo'", "did you mean gspo_moe?"]),
        (["run", "gspo_moe", "variant=gspi"], ["variant=gspi", "did you mean gspo?"]),
        (["run", "gspo_moe", "trainer.totl_training_steps=3"], ["trainer.totl_training_steps"]),
        (["run", "gspo_moe", "seed=one"], ["seed=one", "whole number"]),
        (["run", "gspo_moe", "data.train_batch_size=18"], ["ppo_mini_batch_size"]),
        (["check", "gspo_moe", "scale=mcro"], ["scale=mcro", "did you mean micro?"]),
        (["table", "nothing"], ["no recipe 'nothing'"]),
        (["sweep", "gspo_moe"], ["exactly one key"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, expected):
    done = command(*words)
    assert done.returncode == 2
    assert len(errors(done)) == 1 and "Traceback" not in done.stderr
    assert all(word in errors(done)[0] for word in expected), done.stderr


def test_options_may_stand_before_or_after_the_words():
    # an override of this test alone: its run has no data in any tree, which --strict minds
    done = command("check", "gspo_moe", "--json", "variant=grpo", "data.seed=4321", "--strict")
    assert done.returncode == 2, done.stderr
    assert [name.split("+")[0] for name in json.loads(done.stdout)] == ["micro/grpo"], done.stderr
    assert "--strict: 1 warnings, the first: not built yet" in errors(done)[0]
    unknown = command("check", "gspo_moe", "--jsn", "variant=grpo")
    assert unknown.returncode == 2 and "--jsn" in unknown.stderr


@pytest.mark.skipif(visible_gpus() >= 8, reason="this machine can run node8")
def test_node8_without_gpus_is_refused_before_anything_starts():
    done = command("run", "gspo_moe", "scale=node8", RAY_ADDRESS="")
    assert done.returncode == 2
    assert "scale=node8 needs 8 GPUs" in errors(done)[0] and "scale=micro" in errors(done)[0]


def test_check_works_for_every_scale_and_speaks_json():
    done = command("check", "gspo_moe", "scale=micro,node8", "variant=grpo,gspo", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {f"{s}/{v}/seed1" for s in ("micro", "node8") for v in ("grpo", "gspo")}
    node8 = found["node8/grpo/seed1"]
    assert node8["verl"] == ["validate_config", "actor", "rollout", "sft", "model"]
    assert node8["estimate"]["parameters"] == 30532122624
    assert node8["estimate"]["update_gib"]["total"] < 80
    assert node8["estimate"]["gpu_hours"]["total"] > 100
    assert done.stderr.count("estimate: ") == 1  # two arms of one model
    assert found["micro/grpo/seed1"]["estimate"] is None


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, ["interrupted", "same command"]),
        (StageError("OSError: [Errno 28] No space left on device"), 1, ["free some space"]),
        (OSError(28, "No space left on device", "runs/x"), 1, ["No space left", "runs/x"]),
        (ValueError("a\nb"), 2, ["a b"]),
    ],
)
def test_what_goes_wrong_in_a_stage_is_one_line(monkeypatch, capsys, error, code, words):
    def verb(*_):
        raise error

    monkeypatch.setattr(cli, "run", verb)
    assert cli.main(["run", "gspo_moe"]) == code
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1
    assert all(word in text for word in words)
