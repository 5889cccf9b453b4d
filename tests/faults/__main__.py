"""`python -m tests.faults [seeds=1,2,3] [points=update,...]`: the fault matrix and its report.

For each seed, one undisturbed run, and one that is killed at every point in turn. After each kill
the same call goes on to the next point, and what it makes on the way is compared with the
undisturbed run's, bit for bit. Outcomes are kept in `results.jsonl` beside this file, and what is
there is not run again; the report, `README.md`, is made from it. A seed takes about half an hour on
two cores. `full-disk` needs root, for a small disk of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from common.config import ROOT
from common.pipeline import plan
from common.results.provenance import hardware
from tests.end_to_end.conftest import Checkout, fresh_checkout
from tests.faults.chain import Chain, Fault, Outcome, metrics

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"
FOLDER = ROOT / "runs" / "faults"
STEPS = 14
# Small in every direction; 26 problems in batches of 8: an epoch ends after steps 3, 6, 9 and 12,
# with two problems left over each time.
COMMAND = (
    "bash recipes/gspo_moe/run.sh variant=gspo trainer.save_freq=1 trainer.test_freq=1 "
    "data.train_batch_size=8 actor_rollout_ref.rollout.n=4 "
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16 "
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=32 "
    "recipe.data.options.operations=2 recipe.data.options.train=26 "
    "recipe.data.options.validation=16 recipe.data.options.test=64 recipe.data.options.sft=4096 "
    "recipe.data.options.sft_noisy=1024 recipe.evaluation.batch_size=256 "
    "'recipe.sft.phases=[{name:learn,data:{train_files:data/sft.parquet},optim:{lr:2.0e-3},"
    f"trainer:{{total_training_steps:60}}}}]' trainer.total_training_steps={STEPS}"
)
CHAIN = (
    Fault("data", "launcher"),
    Fault("model", "launcher"),
    Fault("sft", "launcher"),
    Fault("sft-checkpoint", "all"),
    Fault("rollout", "launcher", 1),
    Fault("full-disk", "nothing", 2),
    Fault("reward", "worker", 3),
    Fault("rollout", "worker", 4),
    Fault("old-log-prob", "raylet", 5),
    Fault("update", "launcher", 6),
    Fault("update", "worker", 7),
    Fault("checkpoint-model", "launcher", 8),
    Fault("checkpoint-optimizer", "all", 9),
    Fault("checkpoint-export", "launcher", 10),
    Fault("checkpoint-data", "all", 11),
    Fault("checkpoint-tracker", "all", 12),
    Fault("weight-sync", "launcher", 13),
    Fault("validation", "all", 14),
    Fault("evaluation", "launcher"),
    Fault("record", "launcher"),
)


def reference(seed: int) -> Path:
    """The folder of the undisturbed run; most steps of it have a gradient."""
    checkout = Checkout(FOLDER / f"reference-{seed}")
    if not checkout.path.exists():
        fresh_checkout(checkout.path)
    # all checkpoints are kept, to compare with
    done = checkout.shell(f"{COMMAND} seed={seed} trainer.max_actor_ckpt_to_keep=99", timeout=3600)
    assert done.returncode == 0, done.stderr[-2000:]
    run_dir = run_folder(checkout, seed)
    norms = [v["actor/grad_norm"] for _, v in metrics(run_dir / "train" / "metrics.jsonl")[1:]]
    # a group of equal rewards has no gradient; where all groups of a step are such, momentum moves
    assert sum(norm > 0 for norm in norms) > STEPS / 2, f"little to learn: {norms}"
    return run_dir


def run_folder(checkout: Checkout, seed: int) -> Path:
    (found,) = (checkout.path / "runs/gspo_moe/micro").glob(f"gspo+*/seed{seed}")
    return found


def run_chain(seed: int, faults: list[Fault]) -> None:
    """Run the faults and add their outcomes to the results."""
    expected = reference(seed)
    disturbed = FOLDER / f"disturbed-{seed}"
    shutil.rmtree(disturbed, ignore_errors=True)
    checkout = fresh_checkout(disturbed)
    words = f"{COMMAND} seed={seed}"
    (run,) = plan("gspo_moe", shlex.split(words)[2:], require_machine=False)
    run_dir = disturbed / run.run_dir.relative_to(ROOT)
    chain = Chain(checkout, words, run_dir, expected, seed)
    with contextlib.ExitStack() as disks:
        for fault in faults:
            print(f"{time.strftime('%H:%M:%S')} seed {seed}: {fault}", flush=True)
            if fault.point == "full-disk":
                disks.enter_context(small_disk(run_dir / "train"))
            chain.kill_at(fault)
            if fault.point == "full-disk":
                resize(run_dir / "train", "1g")
            note(chain, chain.outcomes[:-1])
        chain.finish()
        note(chain, chain.outcomes)
        steps = [step for step, _ in metrics(run_dir / "train" / "metrics.jsonl")]
        assert steps == list(range(STEPS + 1))


def note(chain: Chain, judged: list[Outcome]) -> None:
    """Write the last outcome that is judged down."""
    for outcome in judged[-1:]:
        with RESULTS.open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
        print(f"  {asdict(outcome)} {chain.differences} {chain.left}", flush=True)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk in `folder` with room for one checkpoint and a half."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def results() -> list[dict]:
    return [json.loads(t) for t in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def write_report() -> None:
    """`README.md` from the results."""
    machine, rows = hardware(), results()
    order = {(f.point, f.step, f.kill): i for i, f in enumerate(CHAIN)}
    rows.sort(key=lambda r: (r["seed"], order[r["point"], r["step"], r["kill"]]))
    good = [r for r in rows if r["weights_equal"] and r["metrics_equal"] and not r["orphans"]]
    lines = [
        "# Fault matrix",
        "",
        "Made by `python -m tests.faults`; do not edit. Each row is one `kill -9` (or a full disk) "
        "in a run of `gspo_moe` at micro scale, made smaller still. The next call of the same "
        "command is compared with an undisturbed run bit for bit: model, optimizer, export, data "
        "loader and metrics of every step, files of every stage. (Metrics without those of time "
        "and memory; those made of the sampler's likelihoods to 1e-5.)",
        "",
        f"Run so far: {len(rows)} of the {len(CHAIN)} points x 3 seeds. {len(good)} of these "
        "left no process and lost nothing but the time since the checkpoint. Machine: "
        f"{machine['cpu']}, {machine['cores']} cores, other work beside.",
        "",
        "- *killed*: the launcher (`python -m common`), all processes of the run at once, the "
        "worker in that phase, or Ray's daemon. In a write, the process is stopped when half of "
        "the file is there.",
        "- *went on after*: the step of the checkpoint that the next call starts from; `-` where "
        "no training was resumed.",
        "- *lost*: seconds from the last logged step (or the start of the call) to the kill. *all "
        "ended*: seconds until no process of the run was left; *left*: how many still ran a minute "
        "after.",
        "",
        "| seed | point | step | killed | went on after | lost (s) | all ended (s) | left "
        "| weights | metrics |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        same = ["equal" if r[f"{what}_equal"] else "**differ**" for what in ("weights", "metrics")]
        step, resumed = ("-" if r[key] is None else r[key] for key in ("step", "resumed"))
        cells = [r["seed"], r["point"], step, r["kill"], resumed]
        cells += [r["lost_s"], r["ended_s"], r["orphans"], *same]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    (HERE / "README.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    points = words["points"].split(",") if "points" in words else {f.point for f in CHAIN}
    for seed in map(int, words.get("seeds", "1,2,3").split(",")):
        done = {(r["point"], r["step"], r["kill"]) for r in results() if r["seed"] == seed}
        faults = [f for f in CHAIN if f.point in points and (f.point, f.step, f.kill) not in done]
        if os.geteuid() != 0:
            faults = [f for f in faults if f.point != "full-disk"]
        if faults:
            run_chain(seed, faults)
        write_report()


if __name__ == "__main__":
    main()
