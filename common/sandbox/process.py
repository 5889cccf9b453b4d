"""A warm interpreter that forks one locked-down child for each program it is sent.

`python -m common.sandbox.process <socket number> <temporary folder>`, started by `runner.py`. The
first process enters new namespaces and forks the second, which is the first one of its pid
namespace: when it ends, the kernel ends all that is left there. The second imports what programs
usually import and then, for each request, forks a child that gives up its rights and runs the
program. At SIGTERM the first ends the second; when nothing below it is left, it removes the folder.
Expected outputs never come here.

A request is the fields of `runner.Limits` in JSON and four open files: the program, standard input,
output and error. The files go from the one who asks to the child; this process does not read
them, so no program finds in its memory what another one got or gave. An answer is `status`,
`code` (the exit status; negative: of a signal) and `seconds`. The first message says what protects
programs here, or why none can be run: `{"namespaces", "landlock"}` or `{"error"}`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import os
import random
import resource
import select
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
import types
from collections.abc import Sequence
from typing import Any, NoReturn

from common.sandbox import lockdown
from common.sandbox.prelude import PRELUDE

THREADS, FILES, OPEN_FILES = 64, 64, 64
TICK_MS = 20
PATIENCE = 20  # times the wall time, for a program that other ones keep from running
OUT_OF_MEMORY = 77  # exit status of a program that an allocation failed in
STACK_BYTES = 256 << 20
FILE_NAMES = ("program", "stdin", "stdout", "stderr")
TRIAL = {"cpu_s": 5, "wall_s": 30, "memory_mb": 64, "output_bytes": 1024}


def receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """The next message and its files; None at the end."""
    body, files, _, _ = socket.recv_fds(connection, 1 << 16, 4)
    return (json.loads(body) if body else None), list(files)


def send(connection: socket.socket, message: Any, files: Sequence[int] = ()) -> None:
    socket.send_fds(connection, [json.dumps(message).encode()], list(files))


class Warm:
    """The process that forks the programs, one after the other."""

    def __init__(self, connection: socket.socket, folder: str, namespaces: list[str]) -> None:
        self.connection, self.folder = connection, folder
        self.alone = "pid" in namespaces  # nothing else lives in this pid namespace
        self.ruleset = lockdown.landlock_ruleset(folder)
        self.base_bytes = int(_read("/proc/self/statm").split()[0]) * resource.getpagesize()

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # the one who asked is gone
            while True:
                request, files = receive(self.connection)
                if request is None:
                    return
                send(self.connection, self.answer(request, files))

    def answer(self, request: dict[str, Any], files: list[int]) -> dict[str, Any]:
        """Run one program; when this returns, its processes and files are gone."""
        parent = os.getpid()
        try:
            pid = os.fork()
            if pid == 0:
                self.child(files, request, parent)
            reason = self.watch(pid, request)
            _, status, usage = os.wait4(pid, 0)
            full = os.fstat(files[2]).st_size >= request["output_bytes"]
        finally:
            for file in files:
                os.close(file)
            self.clean()
        code, seconds = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        if not reason and seconds > request["cpu_s"]:
            reason = "time limit"
        if not reason and full:
            reason = "output limit"
        if not reason and code == OUT_OF_MEMORY:
            reason = "memory limit"
        reason = reason or ("runtime error" if code else "finished")
        return {"status": reason, "code": code, "seconds": seconds}

    def watch(self, pid: int, request: dict[str, Any]) -> str:
        """Wait for the child; kill it at a limit, and say at which."""
        handle = os.pidfd_open(pid)
        try:
            begun, queue = time.monotonic(), Queue()
            waiting = select.poll()
            waiting.register(handle, select.POLLIN)
            waiting.register(self.connection, select.POLLIN)
            outer = _read(f"/proc/self/fdinfo/{handle}").partition("\nPid:")[2].split()[0]
            while handle not in (ready := dict(waiting.poll(TICK_MS))):
                # the one who asked says nothing while it waits: it is gone
                seconds = time.monotonic() - begun
                reason = "lost" if ready else self.over(outer, request, seconds, queue)
                if reason:
                    os.kill(pid, signal.SIGKILL)
                    return reason
            return ""
        finally:
            os.close(handle)
            if self.alone:  # whatever it may have left
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)

    def over(self, pid: str, request: dict[str, Any], seconds: float, queue: Queue) -> str:
        """The limit that the child, `seconds` old, is over, or nothing. `pid`: as /proc has it."""
        # the name may hold any character but ends at the last bracket; field 3 comes next
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if int(fields[17]) > THREADS:
            return "process limit"
        slept_late = seconds - queue.look(pid) > request["wall_s"]
        if used > request["cpu_s"] or slept_late or seconds > PATIENCE * request["wall_s"]:
            return "time limit"
        count = size = 0
        for entry in os.scandir(self.folder):
            with contextlib.suppress(FileNotFoundError):
                count, size = count + 1, size + entry.stat(follow_symlinks=False).st_size
            if count > FILES or size > request["output_bytes"] * 4:
                return "file limit"
        return ""

    def clean(self) -> None:
        """Landlock lets programs make plain files only, so there is nothing below."""
        for entry in os.scandir(self.folder):
            os.unlink(entry.path)

    def child(self, files: list[int], request: dict[str, Any], parent: int) -> NoReturn:
        code = 1
        try:
            for number, file in enumerate(files[1:]):
                os.dup2(file, number)
            with open(files[0], encoding="utf-8", errors="surrogatepass", newline="") as text:
                program = text.read()
            os.setsid()
            lockdown.die_with_parent()
            if os.getppid() != parent:  # it ended before that
                os._exit(code)
            with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
                score.write("1000")  # should the machine run out of memory, this goes first
            os.chdir(self.folder)
            self.limit(request)
            lockdown.give_up_rights(self.ruleset)
            os.closerange(3, OPEN_FILES + 1)  # this process has no higher ones, see `main`
            signal.signal(signal.SIGINT, signal.default_int_handler)
            code = run_program(program)
        except BaseException:  # of ours, before the program
            traceback.print_exc()
        finally:
            os._exit(code)

    def limit(self, request: dict[str, Any]) -> None:
        limits = {
            resource.RLIMIT_CORE: 1,  # at 0 the kernel would still start a handler of crashes
            resource.RLIMIT_CPU: int(request["cpu_s"]) + 2,  # should `watch` be stuck
            resource.RLIMIT_AS: self.base_bytes + (request["memory_mb"] << 20),
            resource.RLIMIT_FSIZE: request["output_bytes"],
            resource.RLIMIT_STACK: STACK_BYTES,
        }
        for kind, value in limits.items():
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))


def run_program(text: str) -> int:
    """The exit status of a program that is run as `__main__`, here: the one place of this project
    where text becomes code. The caller has given up its rights for good."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    sys.argv = ["program.py"]
    os.environ.clear()
    random.seed(0)  # the same program on the same input: the same verdict
    sys.stdin, sys.stdout, sys.stderr = (_text(number, mode) for number, mode in enumerate("rww"))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    written = sys.stdout
    status = 0
    try:
        exec(compile(text, "program.py", "exec", dont_inherit=True), main.__dict__)
    except SystemExit as end:
        status = _exit_status(end.code)
    except BaseException as error:
        status = _failure(error)
    try:  # as an interpreter ends: threads, exit functions, what is left in the buffers
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        if sys.stdout is not None and not getattr(sys.stdout, "closed", False):
            sys.stdout.flush()
        main.__dict__.clear()
        gc.collect()
        with contextlib.suppress(ValueError):  # the program has closed or detached it
            written.flush()
    except BaseException as error:
        status = _failure(error)
    with contextlib.suppress(BaseException):
        sys.__stderr__.flush()
    return status


def _text(number: int, mode: str) -> io.TextIOWrapper:
    """A standard stream as an interpreter makes it, with the attributes that fast readers ask."""
    raw = io.FileIO(number, mode, closefd=False)
    raw.name = f"<{FILE_NAMES[number + 1]}>"
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    text = io.TextIOWrapper(buffer, encoding="utf-8", errors="surrogateescape")
    text.mode = mode  # type: ignore[misc]
    return text


def _failure(error: BaseException) -> int:
    with contextlib.suppress(BaseException):
        traceback.print_exception(error, file=sys.__stderr__)
    return OUT_OF_MEMORY if isinstance(error, MemoryError) else 1


def _exit_status(code: Any) -> int:
    if code is None or isinstance(code, int):
        return int(code or 0) & 0xFF
    print(code, file=sys.stderr)
    return 1


class Queue:
    """How long a process was ready to run while others had the core."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._waited: dict[str, float] = {}

    def look(self, pid: str) -> float:
        """Seconds until now. Since the last look those of the thread that waited longest count: the
        sum over threads grows faster than the clock, by their own work alone."""
        waited = {}
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                fields = _read(f"/proc/{pid}/task/{thread}/schedstat").split()
                waited[thread] = int(fields[1]) / 1e9
        gained = (total - self._waited.get(thread, 0.0) for thread, total in waited.items())
        self.seconds += max(gained, default=0.0)
        self._waited = waited
        return self.seconds


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def warm_up() -> None:
    """Import, once for all programs, what their prelude names."""
    scratch: dict[str, Any] = {}
    exec(compile(PRELUDE, "prelude", "exec"), scratch)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path[:] = [path for path in sys.path if path not in ("", root)]
    sys.dont_write_bytecode = True
    atexit._clear()
    gc.collect()
    gc.freeze()  # else a child's collector touches, and so copies, every page


def wait(pid: int) -> None:
    """Until all processes below this one have ended; at SIGTERM the child `pid` is killed first."""

    def end(*_: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    lockdown.adopt_orphans()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def main() -> None:
    # the lowest free number: a child closes what is below a limit, and this must be among it
    given = int(sys.argv[1])
    connection, folder = socket.socket(fileno=os.dup(given)), sys.argv[2]
    os.close(given)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        lockdown.require()
        namespaces = lockdown.new_namespaces()
        warm_up()
        pid = os.fork()
        if pid:
            connection.close()
            wait(pid)
            shutil.rmtree(folder, ignore_errors=True)  # who asked may be gone
            return
        lockdown.die_with_parent()
        warm = Warm(connection, folder, namespaces)
    except lockdown.Missing as error:
        send(connection, {"error": str(error)})
        return
    # whether a child can be locked down at all is known before the first program comes
    tried = [os.memfd_create(name) for name in FILE_NAMES]
    why = os.dup(tried[3])
    if warm.answer(TRIAL, tried)["status"] != "finished":
        lines = os.pread(why, 1 << 16, 0).decode().strip().splitlines() or ["no child can be run"]
        send(connection, {"error": lines[-1]})
        return
    os.close(why)
    send(connection, {"namespaces": namespaces, "landlock": lockdown.landlock_version()})
    warm.serve()


if __name__ == "__main__":
    main()
