"""verl's other loggers (wandb, tensorboard, ...), fed from the metrics file by their own process.

In the trainer, where verl has them, one that finds no service or no key would end the run. Here it
is a warning, and the others go on. The trainer itself always logs to the console and to the file,
and to nothing else.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

from common.config import ROOT
from common.console import say
from common.process import MARK, last_error
from common.runs import read_json, relative
from common.stages.progress import NewLines, step_metrics

FAILURES = "loggers.failed.jsonl"
OWN = ("console", "file")
# `Tracking.supported_backend` of verl 0.9.1 without rl_insight, which works inside the trainer.
KNOWN = (*OWN, "wandb", "mlflow", "swanlab", "vemlp_wandb", "tensorboard", "clearml", "trackio")


class Loggers:
    """Feeds the loggers `names` while the trainer in `folder` runs; says so when they fail."""

    def __init__(self, names: list[str], folder: Path, env: dict[str, str]) -> None:
        self.names = [name for name in names if name not in OWN]
        self.folder, self.env = folder, env
        self.failures = NewLines(folder / FAILURES)
        self.child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Loggers:
        if self.names:
            self.log = self.folder / "loggers.txt"
            (self.folder / FAILURES).unlink(missing_ok=True)
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
        """Say it once of each that has failed."""
        for line in self.failures.read():
            failed = json.loads(line)
            self.names.remove(failed["name"])
            self._warn(failed["name"], failed["reason"])
        if self.child and self.child.poll() is not None:
            self._ended()

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
        self.child.wait()
        self.poll()

    def _ended(self) -> None:
        """The process is gone: with it those that had not failed, unless it came to its end."""
        assert self.child
        code, self.child = self.child.returncode, None
        if code != 0 and self.names:
            reason = last_error(self.log) or "its process ended before its work"
            self._warn(",".join(self.names), reason)

    def _warn(self, name: str, reason: str) -> None:
        say(
            f"warning: trainer.logger={name} failed: {reason}; the run goes on, its metrics are in "
            f"{relative(self.folder / 'metrics.jsonl')}"
        )


def main() -> None:
    """`python -m common.stages.loggers <train folder> <logger>...`, until standard input ends."""
    import selectors

    from verl.utils.tracking import Tracking

    folder, names = Path(sys.argv[1]), sys.argv[2:]
    config = read_json(folder / "config.yaml")
    title = config["trainer"]["project_name"], config["trainer"]["experiment_name"]
    running: dict[str, Tracking] = {}

    def attempt(name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (Exception, SystemExit) as error:
            running.pop(name, None)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            with (folder / FAILURES).open("a") as file:
                file.write(json.dumps({"name": name, "reason": reason}) + "\n")

    def start(name: str) -> None:
        running[name] = Tracking(*title, [name], config)
        if name not in running[name].logger:  # verl only warns where MLflow cannot start
            raise RuntimeError("it did not start")

    for name in names:
        attempt(name, partial(start, name))
    lines = NewLines(folder / "attempt.jsonl")
    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin, selectors.EVENT_READ)
    ended = False
    while not ended:
        ended = bool(waiting.select(timeout=0.5))
        for line in lines.read():
            step, data = step_metrics(line)
            for name, logger in list(running.items()):
                attempt(name, partial(logger.log, data=data, step=step))
    for name, logger in list(running.items()):
        attempt(name, logger.finish)


if __name__ == "__main__":
    main()
