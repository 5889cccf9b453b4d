"""What this machine, or the Ray cluster that RAY_ADDRESS names, lacks for a run."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys

from common.config import ROOT, RunConfig
from common.rewards import code
from common.rewards.rule import KEY, Rules
from common.stages.reward import benchmark_rules


def visible_gpus() -> int:
    """How many GPUs `nvidia-smi` lists (0 without the tool)."""
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def machine_faults(run: RunConfig) -> list[str]:
    """What the run lacks here: GPUs, nodes, disk, a sandbox. Empty when it can run here."""
    address = os.environ.get("RAY_ADDRESS")
    faults = cluster_faults(run, address) if address else local_faults(run)
    runs = ROOT / "runs"
    free = shutil.disk_usage(runs if runs.exists() else ROOT).free / 1e9
    if free < run.recipe.disk_gb:
        faults.append(
            f"{free:.1f} GB of disk are free, scale={run.scale} needs {run.recipe.disk_gb:g} GB; "
            "free some space"
        )
    return faults + sandbox_faults(run)


def sandbox_faults(run: RunConfig) -> list[str]:
    """Whether this machine can run code safely, where a grader of the run does."""
    rules = [Rules.of(run.get(KEY)), *benchmark_rules(run).values()]
    if any(grader.sandboxed for rule in rules for grader in rule.graders.values()):
        try:
            code.backend()
        except ValueError as error:
            return [str(error)]
    return []


def local_faults(run: RunConfig) -> list[str]:
    faults = []
    nodes = run.get("trainer.nnodes")
    if nodes > 1:
        faults.append(
            f"trainer.nnodes={nodes} needs a Ray cluster: `ray start --head` on one node, "
            "`ray start --address=...` on the others, then set RAY_ADDRESS"
        )
    needed = run.recipe.gpus + run.samplers if run.recipe.platform == "cuda" else 0
    if visible_gpus() < needed:
        faults.append(
            f"scale={run.scale} needs {needed} GPUs and this machine has {visible_gpus()}; "
            "use scale=micro, or set RAY_ADDRESS to a cluster with them"
        )
    return faults


def cluster_faults(run: RunConfig, address: str) -> list[str]:
    """Ask the cluster for its nodes; verl takes `recipe.gpus` GPUs on each of `trainer.nnodes`."""
    if address.startswith("ray://"):
        return [
            f"RAY_ADDRESS={address}: a Ray client cannot start verl; "
            "call from a node of the cluster with RAY_ADDRESS=<head>:6379"
        ]
    try:
        gpus = cluster_gpus(address)
    except ValueError as error:
        return [f"RAY_ADDRESS={address}: {error}"]
    wanted, nodes = run.recipe.gpus, run.get("trainer.nnodes")
    if sum(n >= wanted for n in gpus) < nodes:
        return [
            f"trainer.nnodes={nodes} with recipe.gpus={wanted} needs as many nodes with "
            f"{wanted} GPUs; the nodes of RAY_ADDRESS={address} have {gpus} "
            "(ray start --num-gpus)"
        ]
    return []


def cluster_gpus(address: str) -> list[int]:
    """GPUs of each living node of a Ray cluster.

    Raises ValueError, in one line, when it cannot be joined: not there, another version of Ray or
    Python, another token, or no daemon of the cluster on this machine.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():  # Ray itself would try for minutes
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ValueError(f"nothing answers there ({error.strerror or error})") from None
    script = (
        "import json, ray; ray.init(log_to_driver=False, logging_level='ERROR'); "
        "print(json.dumps([int(n['Resources'].get('GPU', 0)) for n in ray.nodes() if n['Alive']]))"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"RAY_ADDRESS": address},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError("no answer in two minutes; is the cluster up?") from None
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1][:300] if done.stderr.strip() else "no reason"
        raise ValueError(f"cannot be joined ({reason})")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]
