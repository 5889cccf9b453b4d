"""The real run.sh of logic_rl at a scale smaller than micro: an advantage without groups beside
rejection-sampled fine-tuning, and the analyses of saved responses."""

import pytest

from common.results.record import load
from common.results.seal import read_sealed

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]

ARMS = ("reinforce_pp", "rft")
# A scale and no overrides: only runs without are published, and judged. Five steps are what the
# claims ask for.
TINY = """
defaults: [micro, _self_]
actor_rollout_ref:
  actor: {ppo_mini_batch_size: 8, ppo_micro_batch_size_per_gpu: 64}
  rollout: {log_prob_micro_batch_size_per_gpu: 64}
  ref: {log_prob_micro_batch_size_per_gpu: 64}
data: {train_batch_size: 8}
trainer: {save_freq: 5, test_freq: 5}
recipe:
  steps: {default: 5}
  data: {options: {train: [20, 20], validation: 8, test: 10, sft: [200, 3000], sft_noisy: 32}}
  sft:
    phases:
      - name: learn
        data: {train_files: data/sft.parquet}
        optim: {lr: 2.0e-3}
        trainer: {total_training_steps: 100}
  rejection:
    sft:
      phases:
        - name: rejection
          data: {train_files: chosen.parquet, train_batch_size: 8, micro_batch_size_per_gpu: 8}
          optim: {lr: 1.0e-4, lr_warmup_steps: 0}
          trainer: {total_training_steps: 5}
"""
ANALYSES = (
    "limem logic_rl --original train --perturbed train_statement,train_reordered",
    "tokens logic_rl",
    "languages logic_rl",
    "entropy logic_rl",
)


@pytest.fixture(scope="module")
def records(checkout):
    """Of one call, whose arms share the data, the base and its evaluation."""
    scale = checkout.path / "recipes/logic_rl/scale/tiny.yaml"
    scale.write_text(f"# @package _global_{TINY}")
    words = f"scale=tiny variant={','.join(ARMS)}"
    done = checkout.shell(f"bash recipes/logic_rl/run.sh {words}", timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "logic_rl at tiny" in done.stdout and "claims at tiny" in done.stdout
    printed = " ".join(done.stdout.split())
    assert "tiny analogue:" in printed
    assert "PPO ends at a higher accuracy than REINFORCE++: not run" in printed
    return {a: load(checkout.path / f"results/logic_rl/tiny/{a}-seed1.json") for a in ARMS}


def test_both_arms_start_from_one_base_and_are_trained(records):
    rl, rft = records["reinforce_pp"], records["rft"]
    assert rl["curves"]["steps"] == rft["curves"]["steps"] == list(range(6))
    bases = [n for n in rl["problems"] if n.endswith("@base")]
    assert len(bases) == 6 and all(rl["problems"][n] == rft["problems"][n] for n in bases)
    metrics = rl["curves"]["metrics"]
    first, *_, last = metrics["actor/kl_loss"][1:]
    assert abs(first) < 1e-6 < last  # the first step is taken at the reference itself
    assert all(-3 <= score <= 3 for score in metrics["group/score"][1:])
    assert 0 < metrics["group/format_ok"][-1] <= 1
    taught = rft["curves"]["metrics"]
    assert 0 < taught["rejection/correct"][0] < taught["rejection/solved"][0] <= 1
    assert taught["train/loss"][-1] > 0


def test_the_analyses_of_records_and_of_saved_responses(checkout, records):
    folder = checkout.path / "results/logic_rl/tiny/analysis"
    for words in ANALYSES:
        command = f".venv/bin/python -m common analyse {words} scale=tiny"
        done = checkout.shell(command, timeout=300)
        assert done.returncode == 0, done.stderr
    found = {
        name: read_sealed(folder / f"{name}.json")["values"]
        for name in ("limem", "tokens", "languages", "entropy")
    }
    for twin in ("train_statement", "train_reordered"):
        assert set(found["limem"][twin]) == {"before RL", *ARMS}
        assert found["limem"][twin]["rft"]["problems"][0] > 20
    # in symbols there are no words
    counts = {word: c["n_with"] for word, c in found["tokens"]["kk_2"]["rft"].items()}
    assert set(counts.values()) == {0} and "yet" in counts
    assert found["languages"]["kk_2"]["rft"]["responses"] == 10 * 8
    # rejection-sampled fine-tuning has no policy whose entropy could be logged
    assert set(found["entropy"]["fits"]) == {"reinforce_pp seed 1"}
