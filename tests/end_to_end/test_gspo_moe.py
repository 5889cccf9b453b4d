"""The real run.sh of gspo_moe at micro scale, as a user runs it; the tests build on each other.

Every command of the README is run here, but for those that NOT_HERE names and gives a reason for.
"""

import json
import re
import subprocess

import pytest

from common.config import ROOT
from common.results.record import load
from tests.end_to_end.conftest import STEPS

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]

MAIN = "bash recipes/gspo_moe/run.sh"
ARMS = ("grpo", "gspo")
TWO_ARMS = f"{MAIN} variant={','.join(ARMS)}"
SHORT = "bash recipes/gspo_moe/run.sh variant=gspo_r3 trainer.total_training_steps=3"
LONGER = "bash recipes/gspo_moe/run.sh variant=gspo_r3 trainer.total_training_steps=5"
VERL_KEY = (
    "bash recipes/gspo_moe/run.sh variant=grpo_r2 actor_rollout_ref.actor.optim.lr=2e-4 "
    "trainer.save_freq=1 trainer.total_training_steps=2"
)
READ = (
    ".venv/bin/python -m common table gspo_moe",
    ".venv/bin/python -m common claims gspo_moe --json",
    ".venv/bin/python -m common plot gspo_moe",
    ".venv/bin/python -m common analyse passk gspo_moe",
    ".venv/bin/python -m common verify gspo_moe",
    ".venv/bin/python -m common html",
    ".venv/bin/python -m common fork gspo_moe my_idea",
    ".venv/bin/python -m common check my_idea",
    ".venv/bin/python -m common diff gspo_moe my_idea",
    ".venv/bin/python -m common diff gspo_moe/gspo_r2 paper",
    ".venv/bin/python -m common doctor",
    ".venv/bin/python -m common check gspo_moe scale=node8",
    ".venv/bin/python -m common data list",
    ".venv/bin/python -m common grade --list",
    ".venv/bin/python -m common habits --help",
    ".venv/bin/python -m common serve --help",
    ".venv/bin/python -m common --help",
)
# MAIN trains these arms and their twins, five minutes for the same code; the second is this suite;
# the others go on until they are stopped: tests/common/services starts and ends them
NOT_HERE = {MAIN, "bash tests/run.sh"} | {
    f".venv/bin/python -m common serve {kind} MODEL" for kind in ("reward", "reference")
}


def errors(text):
    return [line for line in text.splitlines() if line.startswith("error: ")]


def steps_logged(run_dir):
    lines = (run_dir / "train" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def routing_is_measured(record, own):
    """`own`: the routing whose ratios this arm trains with, `native` or `replayed`."""
    logged = record["curves"]["metrics"]
    # the first mini-batch has the weights that the old log-probabilities came from
    assert set(logged["actor/routing_changed/update_0"][1:]) == {0.0}
    assert all(share > 0 for share in logged["actor/routing_changed/update_3"][1:])
    largest = "token_log_ratio_max_abs"
    assert logged[f"actor/{largest}"] == logged[f"actor/{own}_{largest}"]


@pytest.fixture(scope="module")
def main_run(checkout):
    """Without the committed records, so that what is there afterwards was made by the run."""
    for path in (checkout.path / "results").glob("*/*/*-seed*.json"):
        path.unlink()
    return checkout.shell(TWO_ARMS, timeout=1500)


def test_one_command_trains_arms_and_judges_the_claims(checkout, main_run):
    assert main_run.returncode == 0, main_run.stderr[-3000:]
    out = main_run.stdout
    assert "gspo_moe at micro" in out and "claims at micro" in out
    assert "clip_fraction" in out and "analogue" in out
    assert max(map(len, out.splitlines())) <= 100
    results = checkout.path / "results" / "gspo_moe"
    records = {v: load(results / "micro" / f"{v}-seed1.json") for v in ARMS}
    for variant, record in records.items():
        assert record["curves"]["steps"] == list(range(STEPS + 1))
        assert record["overrides"] == [] and record["variant"] == variant
        assert record["provenance"]["git"]["dirty"] is False
        assert record["provenance"]["lock"]["file"] == "micro.txt"
        assert record["data"]["test"]["rows"] == 500
        assert str(checkout.path) not in json.dumps(record)
        before, after = (record["metrics"][f"test{s}/accuracy"]["mean"] for s in ("@base", ""))
        # what the pilots promise of this base: it knows the task, is unsure, and RL helps
        assert 0.2 < before < 0.55
        assert after > before + 0.1
        routing_is_measured(record, "native")
    bases = [record["problems"]["test@base"] for record in records.values()]
    assert all(base == bases[0] for base in bases)
    assert (results / "micro" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "not run" in (results / "README.md").read_text()
    assert not checkout.left_over()


def test_the_second_call_only_reads(checkout, main_run):
    results = checkout.path / "results" / "gspo_moe"
    page = (results / "README.md").read_text()
    again = checkout.shell(TWO_ARMS, timeout=120)
    assert again.returncode == 0
    assert again.stderr.count("train: done before") == 2
    assert again.stderr.count("evaluate: done before") == 2
    assert (results / "README.md").read_text() == page


@pytest.mark.parametrize("command", READ)
def test_reading_commands_of_the_readme(checkout, main_run, command):
    done = checkout.shell(command, timeout=120)
    assert done.returncode == 0, done.stderr
    if "claims" in command:
        found = {(v["claim"]["id"], v["scale"]): v for v in json.loads(done.stdout)["verdicts"]}
        assert found["clip_fraction", "micro"]["value"] > 1
        assert found["clip_fraction", "node8"]["result"] == "not run"


def test_overrides_run_apart_resume_and_touch_no_record(checkout, main_run):
    results = checkout.path / "results"
    before = {p: p.read_bytes() for p in results.rglob("*") if p.is_file()}
    short = checkout.shell(SHORT)
    assert short.returncode == 0, short.stderr[-3000:]
    assert "not published" in short.stdout
    (run_dir,) = (checkout.path / "runs/gspo_moe/micro").glob("gspo_r3+*/seed1")
    assert steps_logged(run_dir) == [0, 1, 2, 3]
    longer = checkout.shell(LONGER)
    assert longer.returncode == 0, longer.stderr[-3000:]
    assert "resuming after step 3 of 5" in longer.stderr
    assert steps_logged(run_dir) == [0, 1, 2, 3, 4, 5]
    record = load(run_dir / "record" / "record.json")
    assert record["resumes"] == [{"step": 3}]
    assert record["overrides"] == ["trainer.total_training_steps=5"]
    assert {p: p.read_bytes() for p in results.rglob("*") if p.is_file()} == before


def test_any_key_of_verl_can_be_overridden(checkout, main_run):
    done = checkout.shell(VERL_KEY)
    assert done.returncode == 0, done.stderr[-3000:]
    (run_dir,) = (checkout.path / "runs/gspo_moe/micro").glob("grpo_r2+*/seed1")
    record = load(run_dir / "record" / "record.json")
    assert record["config"]["trainer"]["save_freq"] == 1
    routing_is_measured(record, "replayed")
    assert steps_logged(run_dir) == [0, 1, 2]


def test_a_damaged_data_file_is_named(checkout, main_run):
    (data,) = (checkout.path / "runs/.store").glob("data-*/train.parquet")
    whole = data.read_bytes()
    data.write_bytes(whole[:1000] + b"?" + whole[1001:])
    done = checkout.shell(TWO_ARMS, timeout=120)
    data.write_bytes(whole)
    assert done.returncode == 2
    assert len(errors(done.stderr)) == 1 and "train.parquet: damaged" in done.stderr


def test_a_run_of_another_configuration_is_not_overwritten(checkout, main_run):
    path = checkout.path / "recipes/gspo_moe/variant/gspo.yaml"
    text = path.read_text()
    path.write_text(text.replace("clip_ratio_low: 3.0e-4", "clip_ratio_low: 5.0e-4"))
    done = checkout.shell(f"{MAIN} variant=gspo", timeout=120)
    path.write_text(text)
    assert done.returncode == 2
    (line,) = errors(done.stderr)
    assert "clip_ratio_low: 0.0003 -> 0.0005" in line and "--fresh" in line


def test_a_full_disk_is_one_line(checkout, main_run):
    small = checkout.path / "runs" / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        runs, aside = checkout.path / "runs", checkout.path / "runs-aside"
        runs.rename(aside)
        runs.symlink_to(aside / "small")
        full = checkout.shell(f"{MAIN} seed=2 variant=gspo", timeout=120)
        ignored = checkout.shell(f"{MAIN} seed=2 variant=gspo recipe.disk_gb=0", timeout=120)
        runs.unlink()
        aside.rename(runs)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert full.returncode == 2 and "GB of disk are free" in errors(full.stderr)[0]
    assert ignored.returncode == 1, ignored.stderr
    assert len(errors(ignored.stderr)) == 1 and "No space left" in ignored.stderr


def test_every_command_of_the_readme_was_run(checkout, main_run):
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    commands = {
        line.split("  #")[0].strip()
        for block in blocks
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    }
    assert len(commands) >= 5
    assert commands <= NOT_HERE | set(checkout.ran), commands - set(checkout.ran)
