"""A fresh checkout of this tree, and commands run in it as a user would type them."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from common.config import ROOT
from common.process import MARK

STARTED = "TEST_CHECKOUT"
# All that differs from what a user has: a third of the steps, in which its arms learn enough.
STEPS = 10
SHORTER = ("recipes/gspo_moe/scale/micro.yaml", "total_training_steps: 30 ")


class Checkout:
    """A copy of the tree as git sees it; `shell` runs a README command in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ran: list[str] = []

    def environment(self):
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", MARK)}
        return env | {STARTED: str(self.path), "COLUMNS": "100"}

    def shell(self, command: str, timeout: float = 900) -> subprocess.CompletedProcess:
        self.ran.append(command)
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.path,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, command: str, log: Path, **variables: str) -> subprocess.Popen:
        with log.open("w") as output:
            return subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.path,
                env=self.environment() | variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # a suite that runs in the background hands on an ignored Ctrl-C
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """True as soon as `condition()` is; False after `seconds`."""
        deadline = time.time() + seconds
        while time.time() < deadline:
            if condition():
                return True
            time.sleep(0.2)
        return False

    def left_over(self) -> list[psutil.Process]:
        """Processes that a command in this checkout started and that are still there."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(STARTED) == str(self.path)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    return fresh_checkout(tmp_path_factory.mktemp("end_to_end") / "checkout")


def fresh_checkout(path: Path) -> Checkout:
    """A copy of this tree in `path`, shortened, committed, with this tree's environment."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    scale = path / SHORTER[0]
    assert scale.read_text().count(SHORTER[1]) == 1
    scale.write_text(scale.read_text().replace(SHORTER[1], f"total_training_steps: {STEPS} "))
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(path)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "copy"]):
        subprocess.run([*git, *words], check=True)
    # the environment is this tree's: set-up itself has tests of its own
    (path / ".venv").symlink_to(ROOT / ".venv")
    return Checkout(path)
