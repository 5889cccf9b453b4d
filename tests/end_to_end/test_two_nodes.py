"""One run over two Ray nodes: two daemons on this machine, as `ray start` makes them."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil
import pytest

from common.config import ROOT

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]

RAY = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats"]
# 0: any free port, since two nodes of one machine cannot share Ray's usual range
NODE = ["--num-gpus=1", "--num-cpus=6", "--object-store-memory=200000000"]
NODE += ["--min-worker-port=0", "--max-worker-port=0"]
RUN = (
    "bash recipes/gspo_moe/run.sh variant=gspo trainer.nnodes=2 trainer.total_training_steps=1 "
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16 "
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=64"
)
ACTORS = """
import json, ray
import ray._private.state as state
ray.init(log_to_driver=False, logging_level="ERROR")
found = [(a["ActorClassName"], a["State"], a["Address"]["NodeID"]) for a in state.actors().values()]
print(json.dumps(found))
"""


class Cluster:
    def __init__(self, folder: str, port: int) -> None:
        self.folder, self.address = folder, f"127.0.0.1:{port}"
        # a cluster of our own, whatever token this machine's other clusters have
        self.auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2}
        self.daemons: list[subprocess.Popen] = []

    def start(self, *words: str) -> None:
        env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | self.auth
        with Path(self.folder, f"start{len(self.daemons)}.log").open("w") as log:
            self.daemons.append(
                subprocess.Popen([*RAY, *words, *NODE], env=env, stdout=log, stderr=log, cwd=ROOT)
            )

    def ask(self, script: str) -> str:
        """The last line that a script prints which is connected to the cluster."""
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | self.auth | {"RAY_ADDRESS": self.address},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout.strip().splitlines()[-1] if done.returncode == 0 else ""

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(self.folder in word for word in process.cmdline()):
                    found.append(process)
        return found

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(timeout=20)
        _, alive = psutil.wait_procs(self.processes(), timeout=20)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def cluster():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Unix sockets allow about 100 characters
    two = Cluster(tempfile.mkdtemp(prefix="ray-", dir="/tmp"), port)
    nodes = "import ray; ray.init(log_to_driver=False); print(len(ray.nodes()))"
    try:
        head = ["--head", f"--port={port}", f"--temp-dir={two.folder}"]
        two.start(*head, "--include-dashboard=false")
        deadline = time.time() + 120
        while two.ask(nodes) != "1" and time.time() < deadline:
            time.sleep(1)
        two.start(f"--address={two.address}")
        while two.ask(nodes) != "2" and time.time() < deadline:
            time.sleep(1)
        assert two.ask(nodes) == "2", [p.read_text() for p in Path(two.folder).glob("start*.log")]
        yield two
    finally:
        two.stop()
    assert not two.processes()


def test_a_run_over_two_nodes_uses_both_and_leaves_the_cluster_as_it_was(checkout, cluster):
    auth = "".join(f"{k}={v} " for k, v in cluster.auth.items())
    where = f"{auth}RAY_ADDRESS={cluster.address} "
    one_node = RUN.replace("trainer.nnodes=2", "recipe.gpus=2")
    refused = checkout.shell(where + one_node, timeout=120)
    assert refused.returncode == 2, refused.stderr
    assert "recipe.gpus=2" in refused.stderr and "[1, 1]" in refused.stderr

    before = {daemon.pid for daemon in cluster.daemons}
    done = checkout.shell(where + RUN)
    assert done.returncode == 0, done.stderr[-3000:]
    micro = checkout.path / "runs/gspo_moe/micro"
    (run_dir,) = [d for d in micro.glob("gspo+*/seed1") if nodes_of(d) == 2]
    lines = (run_dir / "train" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1]
    metrics = json.loads(lines[-1])["data"]
    assert 20 < metrics["response_length/mean"] <= 28
    assert 0.1 < metrics["critic/score/mean"] < 0.9
    assert metrics["actor/pg_clipfrac"] > 0 and metrics["actor/grad_norm"] > 0
    # one shard for each of the two ranks
    actor = run_dir / "train" / "checkpoints" / "global_step_1" / "actor"
    assert sorted(p.name for p in actor.glob("model_*.pt")) == [
        f"model_world_size_2_rank_{rank}.pt" for rank in (0, 1)
    ]

    actors = json.loads(cluster.ask(ACTORS))
    ranks = [node for name, _, node in actors if "WorkerDict" in name]
    assert len(ranks) == len(set(ranks)) == 2, actors
    # what the run started has ended; what was there before has not
    assert {state for _, state, _ in actors} == {"DEAD"}, actors
    assert {d.pid for d in cluster.daemons if d.poll() is None} == before
    assert not checkout.left_over()


def nodes_of(run_dir: Path) -> int:
    config = json.loads((run_dir / "train" / "config.yaml").read_text())
    return config["trainer"]["nnodes"]
