"""The real run.sh of qwen3_ppo at a scale smaller than micro: a sampler beside the trainer, both
services, one of which is killed while it trains, and a trainer that is killed."""

import contextlib
import json
import os
import signal

import psutil
import pytest

from common.results.record import load

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]

STEPS, PROMPTS, SAMPLES = 5, 4, 16
TINY = f"""# @package _global_
defaults: [micro, _self_]
actor_rollout_ref:
  actor: {{ppo_mini_batch_size: 1, ppo_micro_batch_size_per_gpu: 16}}
  rollout: {{log_prob_micro_batch_size_per_gpu: 16}}
critic: {{ppo_mini_batch_size: 1, ppo_micro_batch_size_per_gpu: 16}}
data: {{train_batch_size: {PROMPTS}}}
trainer: {{save_freq: {STEPS}, test_freq: {STEPS}}}
recipe:
  steps: {{default: {STEPS}}}
  reward_model: {{steps: 10, lr_warmup_steps: 1}}
  data:
    options:
      {{shares: {{verifiable: 0.5}}, train: 40, validation: 12, test: 10, sft: 640, sft_noisy: 64,
        preferences_train: 320, preferences_validation: 40}}
  sft:
    phases:
      - name: learn
        data: {{train_files: data/sft.parquet}}
        optim: {{lr: 2.0e-3}}
        trainer: {{total_training_steps: 10}}
"""
COMMAND = "bash recipes/qwen3_ppo/run.sh scale=tiny variant=ppo"


@pytest.fixture(scope="module")
def log(checkout, tmp_path_factory):
    """What a run printed whose reward service was killed after the first step."""
    path = checkout.path / "recipes/qwen3_ppo/scale/tiny.yaml"
    path.write_text(TINY)
    folder = checkout.path / "runs/qwen3_ppo/tiny/ppo/seed1"
    log = tmp_path_factory.mktemp("qwen3_ppo") / "log.txt"
    launcher = checkout.start(COMMAND, log)
    with ended(launcher):
        steps, address = folder / "train/attempt.jsonl", folder / "services/reward.json"
        assert checkout.wait_for(
            lambda: launcher.poll() is not None or '"step":1' in said(steps).replace(" ", ""), 900
        )
        assert launcher.poll() is None, log.read_text()[-3000:]
        os.kill(json.loads(address.read_text())["pid"], signal.SIGKILL)
        assert launcher.wait(timeout=600) == 0, log.read_text()[-3000:]
    return log.read_text()


def said(path):
    return path.read_text() if path.exists() else ""


@contextlib.contextmanager
def ended(launcher):
    try:
        yield
    finally:
        if launcher.poll() is None:
            os.killpg(launcher.pid, signal.SIGTERM)
            launcher.wait(timeout=60)


def test_the_run_goes_on_when_its_reward_service_is_back(checkout, log):
    printed = " ".join(log.split())
    assert "reward service: ended" in printed and "starting it again, training waits" in printed
    assert "qwen3_ppo at tiny" in printed
    record = load(checkout.path / "results/qwen3_ppo/tiny/ppo-seed1.json")
    curves = record["curves"]["metrics"]
    assert record["curves"]["steps"] == list(range(STEPS + 1))
    assert curves["group/samples"][1:] == [PROMPTS * SAMPLES] * STEPS
    assert curves["group/kept"][1:] == [0.25] * STEPS
    assert all(tokens > 0 for tokens in curves["reference/tokens"][1:])
    assert all(loss > 0 for loss in curves["critic/vf_loss"][1:])
    # the first step's samples are of the weights that it trains; later ones are behind, and how far
    # depends on the clock
    stale = curves["training/off_policy/trajectory_staleness/max"][1:]
    assert stale[0] == 0 and max(stale) >= 1
    assert all(size > 0 for size in curves["weight_sync/mib"][1:])
    measured = {"general", "kbqa", "kbqa, answerable@base", "reward model, follows"}
    assert measured <= set(record["problems"]) and record["wall_time_s"]["reward_model"] > 0
    assert checkout.left_over() == []


def test_no_service_outlives_a_trainer_that_is_killed(checkout, log, tmp_path):
    launcher = checkout.start(f"{COMMAND} critic.optim.lr=2e-3", tmp_path / "log.txt")

    def trainer():
        found = []
        for process in checkout.left_over():
            with contextlib.suppress(psutil.Error):
                found += [process] * ("common.main_ppo" in process.cmdline())
        return found

    with ended(launcher):
        assert checkout.wait_for(trainer, 300), (tmp_path / "log.txt").read_text()
        serving = [p for p in checkout.left_over() if "serve" in p.cmdline()]
        assert len(serving) == 2
        trainer()[0].kill()
        assert launcher.wait(timeout=120) != 0
    assert not any(process.is_running() for process in serving)
    assert checkout.left_over() == []
