"""The real run.sh of psr_nsr at a scale smaller than micro: what gspo_moe's arms do not have, which
is responses left out of the update, and an update of some tokens only."""

import re

import pytest

from common.results.record import load
from common.results.seal import read_sealed

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]

ARMS = ("psr",)
# A scale and no overrides: only runs without are published, and judged. Ten steps are what the
# claims ask for, and two numbers a task that is learnt at once. Tokens are selected as well, which
# no variant does beside leaving responses out.
TINY = """
defaults: [micro, _self_]
algorithm: {token_selection: {share: 0.2, side: highest, denominator: kept}}
actor_rollout_ref:
  actor: {ppo_mini_batch_size: 4, ppo_micro_batch_size_per_gpu: 32}
  rollout: {log_prob_micro_batch_size_per_gpu: 32}
  ref: {log_prob_micro_batch_size_per_gpu: 32}
data: {train_batch_size: 8}
trainer:
  total_training_steps: 10
  save_freq: 10
  test_freq: 10
  v1: {trainer_mode: sync_token_selection}
recipe:
  data: {options: {counts: [2, 3], train: 80, validation: 16, test: 20, sft: 6400, sft_noisy: 64}}
  sft:
    phases:
      - name: learn
        data: {train_files: data/sft.parquet}
        optim: {lr: 3.0e-3, lr_scheduler_type: cosine}
        trainer: {total_training_steps: 100}
"""


@pytest.fixture(scope="module")
def records(checkout):
    """Of one call, whose arms share the data, the base and its evaluation."""
    scale = checkout.path / "recipes/psr_nsr/scale/tiny.yaml"
    scale.write_text(f"# @package _global_{TINY}")
    words = f"scale=tiny variant={','.join(ARMS)}"
    done = checkout.shell(f"bash recipes/psr_nsr/run.sh {words}", timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "psr_nsr at tiny" in done.stdout and "claims at tiny" in done.stdout
    printed = " ".join(done.stdout.split())
    assert re.search("all of them and no others: (holds|undecided) .ours", printed), printed
    assert "the incorrect responses, all of them and no others: not run" in printed
    found = {a: load(checkout.path / f"results/psr_nsr/tiny/{a}-seed1.json") for a in ARMS}
    assert all(r["curves"]["steps"] == list(range(11)) for r in found.values())
    return found


def logged(record, metric):
    """The values of the steps; step 0 is the validation before them."""
    return record["curves"]["metrics"][metric][1:]


def test_psr_updates_on_correct_responses_alone(records):
    kept, correct = (logged(records["psr"], f"group/{name}") for name in ("kept", "correct"))
    assert kept == [max(share, 1 / 64) for share in correct]
    assert 0 < sum(kept) < len(kept)


def test_a_fifth_of_the_tokens_is_updated(records):
    shares = logged(records["psr"], "token_selection/kept")
    # few tokens are left of a step's correct responses: a fifth of them is rounded up
    assert all(0.2 <= share <= 0.5 for share in shares) and sum(shares) / len(shares) < 0.3
    assert all(h > 0 for h in logged(records["psr"], "token_selection/threshold"))


def test_the_analyses_of_records(checkout, records):
    for name, expected in (("passk", "64"), ("coverage", "neither"), ("entropy", "a (95 % CI)")):
        command = f".venv/bin/python -m common analyse {name} psr_nsr scale=tiny"
        done = checkout.shell(command, timeout=300)
        assert done.returncode == 0, done.stderr
        folder = checkout.path / "results/psr_nsr/tiny/analysis"
        page = (folder / f"{name}.md").read_text()
        assert expected in page and all(f"| {arm} |" in page for arm in ARMS), page
        assert read_sealed(folder / f"{name}.json")["values"]
    fits = read_sealed(folder / "entropy.json")["values"]["fits"]
    assert {run: found["group/correct"]["n"] for run, found in fits.items()} == {
        f"{arm} seed 1": 10 for arm in ARMS
    }
