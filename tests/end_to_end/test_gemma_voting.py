"""The real run.sh of gemma_voting at a scale smaller than micro: fine-tuning before RL that is
kept, LoRA in both, and one vote for a group, in one run."""

import shutil

import pytest

from common.results.record import load

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]

ARM = "sft_c"
TINY = """
defaults: [micro, _self_]
actor_rollout_ref:
  actor: {ppo_micro_batch_size_per_gpu: 64}
  rollout: {log_prob_micro_batch_size_per_gpu: 64}
data: {train_batch_size: 8}
trainer:
  total_training_steps: 10
  save_freq: 10
  test_freq: 10
  v1:
    sampler:
      sampler_kwargs:
        group_reward:
          {rule: vote, credit: step, bonus: 0.0, min_share: 0.0, well_formed_only: false, confidence: false, ties: first}
recipe:
  data:
    options:
      {calculations: [1, 2], largest: 20, train: 200, validation: 16, test: 20, sft: 6400, sft_noisy: 640,
       solutions: 80, solution_calculations: [2, 3]}
  sft:
    phases:
      - {name: learn, data: {train_files: data/sft.parquet}, optim: {lr: 3.0e-3, lr_scheduler_type: cosine}, trainer: {total_training_steps: 120}}
      - {name: unlearn, data: {train_files: data/sft_noisy.parquet}, optim: {lr: 1.0e-3, lr_scheduler_type: constant, lr_warmup_steps: 0}, trainer: {total_training_steps: 10}}
  warmups:
    limo:
      sft:
        phases:
          - name: limo
            data:
              train_files: data/warmup_${recipe.warmups.limo.text}.parquet
              custom_cls: {path: pkg://common.plugin.sft_dataset, name: "${recipe.warmups.limo.loss}"}
            optim: {lr: 1.0e-3}
            trainer: {total_training_steps: 10}
"""  # noqa: E501


@pytest.fixture(scope="module")
def record(checkout):
    scale = checkout.path / "recipes/gemma_voting/scale/tiny.yaml"
    scale.write_text(f"# @package _global_{TINY}")
    # else the analyses of the committed records are made again: longer than the run itself
    shutil.rmtree(checkout.path / "results/gemma_voting", ignore_errors=True)
    words = f"scale=tiny variant={ARM}"
    done = checkout.shell(f"bash recipes/gemma_voting/run.sh {words}", timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "gemma_voting at tiny" in done.stdout and "claims at tiny" in done.stdout
    return load(checkout.path / f"results/gemma_voting/tiny/{ARM}-seed1.json")


def test_one_vote_tells_no_response_from_another(record):
    metrics = record["curves"]["metrics"]
    assert metrics["group/correctness_zero_spread"][1:] == [1] * 10
    assert min(metrics["group/zero_spread"][1:]) < 1  # the format does
    assert min(metrics["group/answers"][1:]) > 0.5  # most responses have an answer to vote with


def test_the_adapter_starts_from_what_was_taught_and_is_trained(record):
    assert record["wall_time_s"]["warmup"] > 0
    metrics = record["curves"]["metrics"]
    assert all(0 < grad < 10 for grad in metrics["actor/grad_norm"][1:])
    assert metrics["actor/kl_loss"][1] < 1e-6 < metrics["actor/kl_loss"][-1]
    assert record["problems"]["numeric"]["h"] != record["problems"]["numeric@base"]["h"]
    assert 0.05 < record["metrics"]["format/accuracy"]["mean"] <= 1
