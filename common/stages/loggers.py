"""verl's other loggers (wandb, tensorboard, ...), fed from the metrics file by their own process.

In the trainer, where verl has them, one that finds no service or no key would end the run. Here it
is a warning. The trainer itself always logs to the console and to the file, and to nothing else.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from common.config import ROOT
from common.console import say
from common.process import MARK, last_error
from common.runs import read_json, relative

OWN = ("console", "file")
# `Tracking.supported_backend` of verl 0.9.1 without rl_insight, which works inside the trainer.
KNOWN = (*OWN, "wandb", "mlflow", "swanlab", "vemlp_wandb", "tensorboard", "clearml", "trackio")


class Loggers:
    """Feeds the loggers `names` while the trainer in `folder` runs; says so when they fail."""

    def __init__(self, names: list[str], folder: Path, env: dict[str, str]) -> None:
        self.names = [name for name in names if name not in OWN]
        self.folder, self.env = folder, env
        self.child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Loggers:
        if self.names:
            self.log = self.folder / "loggers.txt"
            with self.log.open("wb") as output:
                self.child = subprocess.Popen(
                    [sys.executable, "-m", "common.stages.loggers", str(self.folder), *self.names],
                    cwd=ROOT,
                    # beside the trainer's mark, not below it: it outlives the trainer by a moment
                    env=self.env | {MARK: str(self.folder.resolve().with_name("loggers"))},
                    stdin=subprocess.PIPE,  # its end tells the child that the trainer has ended
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        return self

    def poll(self) -> None:
        """Say it once when they have failed."""
        if self.child and self.child.poll() is not None:
            self._warn()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.child:
            return
        assert self.child.stdin
        self.child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(timeout=1 if kind else 60)
        self.child.kill()
        if self.child.wait() != 0:
            self._warn()

    def _warn(self) -> None:
        self.child = None
        say(
            f"warning: trainer.logger={','.join(self.names)} failed: {last_error(self.log)}; the "
            f"run goes on, its metrics are in {relative(self.folder / 'metrics.jsonl')}"
        )


def main() -> None:
    """`python -m common.stages.loggers <train folder> <logger>...`, until standard input ends."""
    import selectors

    from verl.utils.tracking import Tracking

    from common.stages.progress import NewLines, step_metrics

    folder, names = Path(sys.argv[1]), sys.argv[2:]
    config = read_json(folder / "config.yaml")
    trainer = config["trainer"]
    tracking = Tracking(trainer["project_name"], trainer["experiment_name"], names, config)
    lines = NewLines(folder / "attempt.jsonl")
    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin, selectors.EVENT_READ)
    ended = False
    while not ended:
        ended = bool(waiting.select(timeout=0.5))
        for line in lines.read():
            step, data = step_metrics(line)
            tracking.log(data=data, step=step)
    tracking.finish()


if __name__ == "__main__":
    main()
