"""Graders whose time has no bound, in child processes that are killed at the deadline.

The deadline counts the processor seconds that one answer uses in its worker: time in a queue, or
while other processes have the cores, is not charged. Nothing here needs a signal, a timer or a
thread of the caller, so it works in any thread, in a Ray actor, and in many threads at once.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from common.rewards.registry import ROOT, get_grader
from common.rewards.verdict import Grader, Outcome, Row, Verdict

DEADLINE_S = 0.5  # processor seconds of one answer
WORKERS = 4
_PATIENCE = 40  # times the deadline, on the clock: for a worker that sleeps
_TICK_MS = 20
_LOST_KEEPERS = 3  # that one call survives


@dataclass(frozen=True)
class _Worker:
    """A process that was forked by `keeper` when that knew the graders `knows`."""

    socket: socket.socket
    pid: int
    keeper: subprocess.Popen[bytes]
    knows: frozenset[str]


class _Failed(Exception):
    """No verdict, and the worker is of no use any more; the argument says why."""


class _KeeperGone(Exception):
    """The keeper ended, with all its workers; another can be started."""


class Pool:
    """Up to `workers` killable processes, started when first needed; `close` ends them all."""

    def __init__(self, workers: int = WORKERS, deadline_s: float = DEADLINE_S) -> None:
        self.deadline_s = deadline_s
        self._slots: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(workers):
            self._slots.put(None)
        self._lock = threading.Lock()  # of all below
        self._keeper: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._warm: set[str] = set()
        self._closed = False

    def grade(self, name: str, row: Row) -> Verdict:
        """The verdict of the grader called `name`; blocks while all workers are busy.

        Without a verdict (`details` says why: deadline, memory, refused, crash) the outcome is
        UNGRADABLE, and score and further details are those of no response at all.

        Raises: ValueError where the grader does; RuntimeError when no worker can be started.
        """
        (found,) = self.grade_all(name, [row])
        if isinstance(found, ValueError):
            raise found
        return found

    def grade_all(self, name: str, rows: Sequence[Row]) -> list[Verdict | ValueError]:
        """The verdicts of `rows` in order, by one worker at a time, each with its own deadline.

        The ValueError of a row that the grader refuses stands in the verdict's place. A sandboxed
        grader has processes of its own: it needs no worker, and no deadline of this pool.
        """
        grader = get_grader(name)
        if grader.sandboxed:
            return [_here(grader, row) for row in rows]
        worker = self._slots.get()
        found: list[Verdict | ValueError] = []
        lost = 0
        try:
            while len(found) < len(rows):
                try:
                    if worker is None or name not in worker.knows:
                        old, worker = worker, None
                        worker = self._replace(old, name)
                    for answer in self._ask(worker, name, rows[len(found) :]):
                        found.append(answer)
                except _Failed as failed:
                    assert worker is not None
                    dead, worker = worker, None
                    if self._end(dead):
                        found.append(_without_verdict(name, rows[len(found)], str(failed)))
                        continue
                    lost += 1  # with its keeper a worker dies too: the answer is not to blame
                except _KeeperGone:
                    lost += 1
                if lost == _LOST_KEEPERS:
                    raise RuntimeError(f"grader {name}: its processes end, see the error above")
            return found
        except BaseException:  # Ctrl-C too: the worker may be in the middle of an answer
            if worker is not None:
                self._end(worker)
                worker = None
            raise
        finally:
            self._slots.put(worker)

    def close(self) -> None:
        """End all processes and wait until they are gone; a call in flight fails."""
        with self._lock:
            self._closed = True
            self._stop_keeper()
        idle = []
        with contextlib.suppress(queue.Empty):
            while True:
                idle.append(self._slots.get_nowait())
        for worker in idle:
            if worker is not None:
                worker.socket.close()
            self._slots.put(None)

    def _ask(
        self, worker: _Worker, name: str, rows: Sequence[Row]
    ) -> Iterator[Verdict | ValueError]:
        """The verdicts as they come. Raises _Failed when the worker ends or must be ended."""
        request = json.dumps({"grader": name, "rows": [dict(row) for row in rows]}, default=_plain)
        try:
            worker.socket.sendall(request.encode() + b"\n")
            for _, line in zip(rows, _lines(worker, self.deadline_s), strict=False):
                answer = json.loads(line)
                if "failed" in answer:
                    raise _Failed(answer["failed"])
                if "error" in answer:
                    yield ValueError(answer["error"])
                else:
                    yield Verdict(**answer | {"outcome": Outcome(answer["outcome"])})
        except OSError:
            raise _Failed("crash") from None

    def _replace(self, old: _Worker | None, name: str) -> _Worker:
        """A new worker that knows the grader, in the place of `old`."""
        if old is not None:
            self._end(old)
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool of graders is closed")
            if self._keeper is None:
                self._start_keeper()
            if name not in self._warm:
                self._order({"warm": name})
                self._warm.add(name)
            ours, theirs = socket.socketpair()
            try:
                with theirs:
                    pid = self._order({"fork": True}, [theirs.fileno()])["pid"]
            except BaseException:
                ours.close()
                raise
            assert self._keeper is not None
            return _Worker(ours, pid, self._keeper, frozenset(self._warm))

    def _end(self, worker: _Worker) -> bool:
        """Whether the worker's keeper is still there to end it.

        A keeper's sockets close before the kernel kills its workers, so of a worker that died with
        its keeper this is never true.
        """
        worker.socket.close()
        with self._lock:
            if worker.keeper is not self._keeper:
                return False
            try:
                self._order({"end": worker.pid})
            except _KeeperGone:
                return False
            return True

    def _order(self, order: dict[str, Any], files: Sequence[int] = ()) -> dict[str, Any]:
        """The keeper's reply; the caller holds the lock.

        Raises: RuntimeError, saying why, when it cannot do it; _KeeperGone, once for each keeper
        that ended, since the next order is for another one.
        """
        assert self._control is not None
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], list(files))
            reply = self._control.recv(1 << 16)
        except OSError:
            reply = b""
        if not reply:
            self._stop_keeper()  # it may still be on its way out: nobody may ask it again
            raise _KeeperGone
        answer: dict[str, Any] = json.loads(reply)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def _start_keeper(self) -> None:
        self._control, theirs = socket.socketpair()
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        # a process with one thread can be forked safely
        single = {f"{kind}_NUM_THREADS": "1" for kind in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
        with theirs:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "common.rewards.worker_process", str(theirs.fileno())],
                env=os.environ | single | {"PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for the parent, which then closes the pool
            )
        self._warm = set()

    def _stop_keeper(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._keeper is not None:
            try:
                self._keeper.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._keeper.kill()  # in the middle of an import; the kernel ends its workers
                self._keeper.wait()
        self._keeper = self._control = None


def _lines(worker: _Worker, deadline_s: float) -> Iterator[bytes]:
    """Lines that the worker sends. Raises _Failed at the deadline of one, OSError at the end."""
    buffer = b""
    while True:
        line, newline, rest = buffer.partition(b"\n")
        if newline:
            buffer = rest
            yield line
            continue
        _wait(worker, deadline_s)
        received = worker.socket.recv(1 << 20)
        if not received:
            raise ConnectionResetError
        buffer += received


def _wait(worker: _Worker, deadline_s: float) -> None:
    readable = select.poll()
    readable.register(worker.socket, select.POLLIN)
    if readable.poll(_TICK_MS):
        return
    begun, used = time.monotonic(), _processor_seconds(worker.pid)
    while not readable.poll(_TICK_MS):
        late = _processor_seconds(worker.pid) - used > deadline_s
        if late or time.monotonic() - begun > _PATIENCE * deadline_s:
            raise _Failed("deadline")


def _processor_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:  # just gone; the socket says so next
        return 0.0
    return float(times.user + times.system)


def _here(grader: Grader, row: Row) -> Verdict | ValueError:
    try:
        return grader.grade(row)
    except ValueError as error:
        return error


def _without_verdict(name: str, row: Row, reason: str) -> Verdict | ValueError:
    """Score and details of no response are what an answer without a verdict gets."""
    try:
        nothing = get_grader(name).grade({**row, "response": None})
    except ValueError as error:
        return error
    return Verdict(Outcome.UNGRADABLE, nothing.score, None, {**nothing.details, reason: 1.0})


def _plain(value: Any) -> Any:
    """A NumPy value, as parquet readers give them, for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a row")


_pool: Pool | None = None
_pool_lock = threading.Lock()


def grade(name: str, row: Row) -> Verdict:
    """One verdict: here where the work is bounded, else by this process's pool.

    Raises: as `Pool.grade`.
    """
    grader: Grader = get_grader(name)
    if grader.bounded:
        return grader.grade(row)
    return (grader.fast and grader.fast(row)) or _shared().grade(name, row)


def close() -> None:
    """End this process's pool; the next answer that needs one starts another."""
    global _pool
    with _pool_lock:
        if _pool is not None:
            _pool.close()
        _pool = None


def _shared() -> Pool:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = Pool()
        return _pool


def _forget() -> None:
    """In a fork: the parent's processes are not this process's to use or to end."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


atexit.register(close)
os.register_at_fork(after_in_child=_forget)
