"""Programs that mean harm, and a soak: `python -m tests.hostile [programs=500] [seed=1]`.

The soak runs so many programs in the sandbox of this machine, a quarter of them hostile, and then
looks for what may have stayed: processes, threads, files, open descriptors. Every program here is
harmless outside of the sandbox too, or bounded: nothing tries without end what could succeed.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psutil

from common.sandbox.runner import Limits, Sandbox, protections
from data.code_problems import draw

LIMITS = Limits(cpu_s=0.3, wall_s=0.6, memory_mb=256, output_bytes=1 << 20)
TIME, MEMORY, OUTPUT = "time limit", "memory limit", "output limit"
ERROR, FILES, PROCESSES, FINISHED = "runtime error", "file limit", "process limit", "finished"
# name: (how it may end, program). A program prints `breach` where it got what it wanted. {victim}
# is a file of the user, {pid} a process of the user's, {port} a server on this machine.
HOSTILE = {
    "endless loop": ((TIME,), "while True: pass"),
    "a loop in C": ((TIME,), "sum(range(10**12))"),
    "endless loop that ignores signals": (
        (TIME,),
        "import signal\nfor s in (2, 15, 24): signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
    ),
    "sleeps forever": ((TIME,), "import time\ntime.sleep(10**6)"),
    "waits for a thread forever": (
        (TIME,),
        "import threading\nthreading.Thread(target=threading.Event().wait).start()",
    ),
    "forks": ((ERROR,), "import os\nos.fork()\nprint('breach')"),
    "forks fifty times": (
        (FINISHED,),
        "import os\nfor _ in range(50):\n    try:\n        os.fork()\n        print('breach')\n"
        "    except OSError:\n        pass",
    ),
    "forks past Python": (
        (FINISHED,),
        "import ctypes\nif ctypes.CDLL(None).fork() >= 0: print('breach')",
    ),
    "starts a program": ((ERROR,), "import subprocess\nsubprocess.run(['true'])\nprint('breach')"),
    "becomes a program": ((ERROR,), "import os\nos.execv('/bin/echo', ['echo', 'breach'])"),
    "a thousand threads": (
        (PROCESSES, ERROR),
        "import threading, time\nthreading.stack_size(1 << 16)\nfor _ in range(1000):\n"
        "    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n"
        "time.sleep(5)\nprint('breach')",
    ),
    "allocates 10 GB": ((MEMORY,), "x = bytearray(10 << 30)\nprint('breach')"),
    "allocates 10 GB in pieces": (
        (MEMORY,),
        "x = []\nfor _ in range(160): x.append(bytearray(64 << 20))\nprint('breach')",
    ),
    "maps 10 GB": ((ERROR,), "import mmap\nmmap.mmap(-1, 10 << 30)\nprint('breach')"),
    "deletes a file": ((ERROR,), "import os\nos.remove({victim!r})\nprint('breach')"),
    "empties a file": ((ERROR,), "import os\nos.open({victim!r}, os.O_TRUNC)\nprint('breach')"),
    "writes a file": ((ERROR,), "open({victim!r}, 'w').write('breach')\nprint('breach')"),
    "reads a file": ((ERROR,), "print('breach', open({victim!r}).read())"),
    "renames a file": ((ERROR,), "import os\nos.rename({victim!r}, 'mine')\nprint('breach')"),
    "changes a mode": ((ERROR,), "import os\nos.chmod({victim!r}, 0o777)\nprint('breach')"),
    "lists the root": ((ERROR,), "import os\nos.listdir('/')\nprint('breach')"),
    "makes a link": ((ERROR,), "import os\nos.symlink({victim!r}, 'mine')\nprint('breach')"),
    "fills its folder": (
        (FILES,),
        "import time\nfor i in range(500): open(str(i), 'w').write('x' * 1000)\ntime.sleep(5)",
    ),
    "writes a large file": (
        (ERROR, FILES),
        "f = open('large', 'wb')\nfor _ in range(64): f.write(bytes(1 << 20))\nprint('breach')",
    ),
    "reserves the disk": (
        (FINISHED,),
        "import ctypes, os\nf = os.open('large', os.O_CREAT | os.O_RDWR)\n"
        "room = ctypes.c_long(1 << 28)\n"
        "if ctypes.CDLL(None).fallocate(f, 1, ctypes.c_long(0), room) == 0: print('breach')",
    ),
    "keeps files without a name": (
        (FINISHED,),
        "import os\nopen('a', 'w'); open('b', 'w')\n"
        "for act in (lambda: os.unlink('a'), lambda: os.rename('a', 'b'),\n"
        "            lambda: os.open('.', os.O_TMPFILE | os.O_RDWR)):\n    try:\n"
        "        act(); print('breach')\n    except OSError: pass",
    ),
    "opens a socket": (
        (ERROR,),
        "import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)\nprint('breach')",
    ),
    "asks a name server": (
        (ERROR,),
        "import socket\nsocket.getaddrinfo('example.org', 80)\nprint('breach')",
    ),
    "floods standard output": ((OUTPUT,), "while True: print('x' * 10000)"),
    "floods standard output, come what may": (
        (TIME, OUTPUT),
        "import os\nwhile True:\n    try: os.write(1, b'x' * 10000)\n    except OSError: pass",
    ),
    "floods standard error": (
        (ERROR,),
        "import sys\nwhile True: sys.stderr.write('x' * 10000); sys.stderr.flush()",
    ),
    "kills its parent": ((ERROR,), "import os\nos.kill(os.getppid(), 9)\nprint('breach')"),
    "signals a process of the user": ((ERROR,), "import os\nos.kill({pid}, 0)\nprint('breach')"),
    "signals all": ((ERROR,), "import os\nos.kill(-1, 0)\nprint('breach')"),
    "reads an environment": (
        (ERROR,),
        "print('breach', open('/proc/{pid}/environ').read())",
    ),
    "reads its parent's environment": (
        (FINISHED,),
        "import os\nfor n in (os.getppid(), 'self', 1, 2):\n    try:\n"
        "        print('breach', open(f'/proc/{{n}}/environ').read())\n"
        "    except OSError: pass\nif os.environ: print('breach')",
    ),
    # ptrace, shmget, memfd_create, unshare, io_uring_setup, fork as on x32, pidfd_open, socketpair
    "makes system calls by number": (
        (FINISHED,),
        "import ctypes, os\ncall = ctypes.CDLL(None).syscall\n"
        "for a in ((101, 0), (29, 0, 4096, 0o1600), (319, b'x', 0), (272, 1 << 28),\n"
        "          (425, 8, bytes(120)), (1 << 30 | 57,), (434, 1, 0), (53, 1, 1, 0, bytes(8))):\n"
        "    if os.uname().machine == 'x86_64' and call(*a) >= 0: print('breach', a)",
    ),
    "poisons its interpreter": (
        (FINISHED, ERROR),
        "import atexit, builtins, gc, json, os, select, sys\ndef poison(nothing=lambda *a: None):\n"
        "    frame, modules = sys._getframe(), (atexit, gc, json, os, select, sys, builtins)\n"
        "    for space in [module.__dict__ for module in modules]:\n"
        "        for name in space.copy():\n"
        "            if name[0] != '_' or name == '_exit': space[name] = nothing\n"
        "    while frame:\n        frame.f_globals.clear()\n        frame = frame.f_back\npoison()",
    ),
    "raises its limits": (
        (FINISHED,),
        "import resource\nfor kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU):\n    try:\n"
        "        resource.setrlimit(kind, (1 << 40, 1 << 40))\n        print('breach')\n"
        "    except (ValueError, OSError): pass",
    ),
    "keeps a descriptor of the sandbox": (
        (FINISHED,),
        "import os\nfor n in range(3, 256):\n    try:\n        os.fstat(n); print('breach')\n"
        "    except OSError: pass",
    ),
    "crashes": ((ERROR,), "import ctypes\nctypes.string_at(0)"),
    "recurses without end": (
        (ERROR, TIME, MEMORY),
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()\nf()",
    ),
    "cannot be compiled": ((ERROR, MEMORY), "(" * 10_000),
    "has a NUL": ((ERROR,), "print(1)\0"),
    "has half a character": ((ERROR,), "print('\ud800')"),
    "ends in its own way": ((ERROR,), "import os\nos._exit(3)"),
    "ends by a signal without a name": ((ERROR,), "import os\nos.kill(os.getpid(), 40)"),
    "stops itself": ((TIME,), "import os\nos.kill(os.getpid(), 19)\nprint('breach')"),
}


def main(words: list[str]) -> int:
    options = {"programs": "500", "seed": "1"}
    for word in words:
        key, separator, value = word.partition("=")
        if key not in options or not separator or not value.isdecimal():
            sys.exit(f"error: {word!r}: write programs=<number> or seed=<number>")
        options[key] = value
    for name, how in protections().items():
        print(f"{name}: {how}")
    count, rng = int(options["programs"]), random.Random(int(options["seed"]))
    names = [*HOSTILE] * (count // 4 // len(HOSTILE) + 1)
    chosen: list[str | None] = [*names[: count // 4], *[None] * (count - count // 4)]
    rng.shuffle(chosen)
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    victim = folder / "victim"
    victim.write_text("alive")
    tempfile.tempdir = str(folder)  # of this run's sandbox alone
    before, begun = left(folder), time.monotonic()
    sandbox, bad, ends = Sandbox(2), [], Counter[str]()
    for name in chosen:
        found, wanted = one(sandbox, name, rng, victim)
        ends[found] += 1
        if not wanted:
            bad.append(f"{name or 'an ordinary program'}: {found}")
    sandbox.close()
    seconds = time.monotonic() - begun
    after = left(folder)
    if victim.read_text() != "alive":
        bad.append("the victim was changed")
    shutil.rmtree(folder)
    bad += [f"left behind: {what}" for what in sorted(after - before)]
    how = ", ".join(f"{number} {end}" for end, number in ends.most_common())
    print(f"{count} programs, {count // 4} of them hostile, in {seconds:.0f} s: {how}")
    print("\n".join(bad) or "nothing was left, and every program ended as it must")
    return 1 if bad else 0


def one(sandbox: Sandbox, name: str | None, rng: random.Random, victim: Path) -> tuple[str, bool]:
    """How one program ended, and whether it had to end so."""
    if name is None:
        problem = draw(rng)
        solution = problem.solution().replace("def answer", "a = [3, 1, 2]\ndef answer")
        solution += "\nprint(answer(a))" if problem.function else ""
        run = sandbox.run("import itertools\n" + solution, "3 1 2\n", LIMITS)
        return run.status.value, run.status.value == FINISHED and bool(run.stdout.strip())
    statuses, program = HOSTILE[name]
    program = fill(program, victim, os.getpid(), 9)
    run = sandbox.run(program, "", LIMITS)
    return run.status.value, run.status.value in statuses and "breach" not in run.stdout


def fill(program: str, victim: Path, pid: int, port: int) -> str:
    """A hostile program with its targets in place."""
    if "{" not in program:
        return program
    return program.format(victim=str(victim), pid=pid, port=port)


def left(folder: Path) -> set[str]:
    """What this process has, and what any process has in or from a folder for temporary files."""
    found = {f"process {p.pid}" for p in psutil.Process().children(recursive=True)}
    found |= {f"thread {t.name}" for t in threading.enumerate()}
    found |= {f"descriptor {n}" for n in os.listdir("/proc/self/fd")}
    found |= {str(path) for path in folder.rglob("*")}
    for process in psutil.process_iter(["cmdline"]):
        if any(word.startswith(str(folder)) for word in process.info["cmdline"] or []):
            found.add(f"process {process.pid}")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
