"""The sandbox of this machine: programs in, what they wrote and how they ended out.

A slot is a warm interpreter (`process.py`) of its own; as many programs run at once as there are
slots. Safe to use from many threads at once: a caller waits for a free slot.
"""

from __future__ import annotations

import atexit
import os
import queue
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

from common.sandbox import process

ROOT = Path(__file__).resolve().parent.parent.parent
# All that a program's process inherits; the program itself finds an empty environment.
ENVIRONMENT = {"PYTHONHASHSEED": "0"} | {
    f"{kind}_NUM_THREADS": "1" for kind in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
}
_MEND = "give such a machine, or set SANDBOX_URL to a sandbox service (common/sandbox/README.md)"
_SPARE_S = 30.0  # beyond a program's wall time, for the process around it
_LOST = 3  # processes around it that one program may cost
_ERROR_BYTES = 400  # of standard error, its end


class Status(str, Enum):
    """How a program ended. `LOST`: the sandbox could not tell; nothing is known of the program."""

    FINISHED = "finished"
    RUNTIME_ERROR = "runtime error"
    TIME_LIMIT = "time limit"
    MEMORY_LIMIT = "memory limit"
    OUTPUT_LIMIT = "output limit"
    PROCESS_LIMIT = "process limit"
    FILE_LIMIT = "file limit"
    LOST = "lost"


@dataclass(frozen=True)
class Limits:
    """Of one program. `cpu_s`: processor seconds; `wall_s`: seconds on the clock that it did not
    wait for a core, for one that sleeps; `memory_mb`: address space beyond the interpreter's own,
    MiB; `output_bytes`: of standard output, and of any one file."""

    cpu_s: float
    wall_s: float
    memory_mb: int = 1024
    output_bytes: int = 16 << 20

    @staticmethod
    def of(cpu_s: float) -> Limits:
        """Twice the processor seconds on the clock."""
        return Limits(cpu_s, 2 * cpu_s + 1)


@dataclass(frozen=True)
class Run:
    """`error`: the last line on standard error, or what the sandbox says; `seconds`: processor
    time."""

    status: Status
    stdout: str
    error: str
    seconds: float


@dataclass(eq=False)
class _Slot:
    process: subprocess.Popen[bytes]
    socket: socket.socket
    folder: str
    protections: dict[str, Any]

    def ask(self, limits: Limits, files: list[int]) -> dict[str, Any]:
        """Raises: OSError when no answer comes."""
        process.send(self.socket, asdict(limits), files)
        readable = select.poll()
        readable.register(self.socket, select.POLLIN)
        if not readable.poll(1000 * (process.PATIENCE * limits.wall_s + _SPARE_S)):
            raise TimeoutError("no answer")
        answer: dict[str, Any] | None = process.receive(self.socket)[0]
        if answer is None:
            raise ConnectionResetError("it ended")
        return answer

    def end(self) -> None:
        self.socket.close()
        self.process.terminate()  # it ends when all that it has started has
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sandbox:
    """Up to `slots` warm interpreters, started when first needed; `close` ends them all."""

    def __init__(self, slots: int | None = None) -> None:
        self._count = slots or len(os.sched_getaffinity(0))
        self._slots: queue.LifoQueue[_Slot | None] = queue.LifoQueue()
        for _ in range(self._count):
            self._slots.put(None)
        self._lock = threading.Lock()  # of what follows
        self._living: set[_Slot] = set()
        self._closed = False

    def run(self, program: str, stdin: str, limits: Limits) -> Run:
        """Run Python text as a program.

        Raises: ValueError, in one line with the mend, where this machine cannot lock it down;
        RuntimeError when the sandbox is closed meanwhile.
        """
        slot = self._slots.get()
        why = ""
        try:
            for _ in range(_LOST):
                slot = slot or self._begin()
                files = [os.memfd_create(name) for name in process.FILE_NAMES]
                try:
                    _fill(files[0], program)
                    _fill(files[1], stdin)
                    return _run(slot.ask(limits, files), files, limits)
                except OSError as error:
                    why = f"its process: {error}"
                    lost, slot = slot, None
                    self._end(lost)
                finally:
                    for file in files:
                        os.close(file)
            return Run(Status.LOST, "", why, 0.0)
        except BaseException:  # Ctrl-C too: a program may be running
            if slot is not None:
                lost, slot = slot, None
                self._end(lost)
            raise
        finally:
            self._slots.put(slot)

    def close(self) -> None:
        """End all processes and remove their folders; calls in flight fail."""
        with self._lock:
            self._closed = True
            for slot in self._living:
                slot.process.terminate()
        idle = [self._slots.get() for _ in range(self._count)]
        for found in idle:
            if found is not None:
                self._end(found)
            self._slots.put(None)

    def _begin(self) -> _Slot:
        if self._closed:
            raise RuntimeError("the sandbox is closed")
        slot = _start()
        with self._lock:
            self._living.add(slot)
            if self._closed:
                slot.process.terminate()
        return slot

    def _end(self, slot: _Slot) -> None:
        with self._lock:
            self._living.discard(slot)
        slot.end()


def _fill(file: int, text: str) -> None:
    content = memoryview(text.encode("utf-8", "surrogatepass"))
    while content:
        content = content[os.write(file, content) :]
    os.lseek(file, 0, os.SEEK_SET)


def _run(answer: dict[str, Any], files: list[int], limits: Limits) -> Run:
    """What an answer and the written files say of a program."""
    status, code = Status(answer["status"]), answer["code"]
    stdout = os.pread(files[2], limits.output_bytes, 0).decode("utf-8", "replace")
    size = os.fstat(files[3]).st_size
    lines = os.pread(files[3], _ERROR_BYTES, max(0, size - _ERROR_BYTES)).decode("utf-8", "replace")
    error = "" if code < 0 and status is not Status.RUNTIME_ERROR else lines.strip()
    error = error.splitlines()[-1].strip() if error else ""
    if code and not error and status is Status.RUNTIME_ERROR:
        error = f"exit status {code}" if code > 0 else f"signal {-code}: {signal.strsignal(-code)}"
    return Run(status, stdout, error, answer["seconds"])


def _start() -> _Slot:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folder = tempfile.mkdtemp(prefix="sandbox-")
    with theirs:
        started = subprocess.Popen(
            [sys.executable, "-s", "-m", "common.sandbox.process", str(theirs.fileno()), folder],
            cwd=ROOT,
            env=ENVIRONMENT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    slot = _Slot(started, ours, folder, {})
    try:
        hello = process.receive(ours)[0]
    except BaseException:
        slot.end()
        raise
    if hello is None or "error" in hello:
        slot.end()
        why = hello["error"] if hello else "its process ended, see the error above"
        raise ValueError(f"code cannot be run safely here: {why}; {_MEND}")
    slot.protections = hello
    return slot


@lru_cache
def protections() -> dict[str, str]:
    """What keeps programs in on this machine, by name: how it is done, or that it is missing.

    Raises: ValueError, in one line with the mend, where they cannot be kept in.
    """
    slot = _start()
    slot.end()
    namespaces = slot.protections["namespaces"]

    def namespace(kind: str, otherwise: str) -> str:
        return f"{kind} namespace, and {otherwise}" if kind in namespaces else otherwise

    refused = "seccomp refuses the system calls"
    return {
        "time, memory, file size": "resource limits, and a parent that looks every 20 ms",
        "processes": namespace("pid", f"{refused}; at most {process.THREADS} threads"),
        "signals": namespace("pid", "seccomp lets a program signal itself only"),
        "network": namespace("net", refused),
        "shared memory": namespace("ipc", refused),
        "files": f"Landlock (version {slot.protections['landlock']})",
        "rights": "no capabilities, no new privileges"
        + (", a user namespace" if "user" in namespaces else ""),
    }


_shared: Sandbox | None = None
_lock = threading.Lock()


def shared() -> Sandbox:
    """This process's sandbox, with a slot for each core."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = Sandbox()
        return _shared


def close() -> None:
    """End the shared sandbox; the next program that needs one starts another."""
    global _shared
    with _lock:
        if _shared is not None:
            _shared.close()
        _shared = None


def _forget() -> None:
    """In a fork: the parent's processes are not this process's to use or to end."""
    global _shared, _lock
    _shared, _lock = None, threading.Lock()


atexit.register(close)
os.register_at_fork(after_in_child=_forget)
