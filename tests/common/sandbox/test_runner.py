"""The sandbox of this machine: what programs get, what they cannot, and what stays of them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import pytest

from common.config import ROOT
from common.sandbox import lockdown, process, runner
from common.sandbox.runner import Limits, Sandbox, Status
from tests.hostile import HOSTILE, LIMITS, fill, left

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def sandbox():
    made = Sandbox(1)
    yield made
    made.close()


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_ends_as_it_must_and_touches_nothing(name, sandbox, server, tmp_path):
    statuses, program = HOSTILE[name]
    victim = tmp_path / "victim"
    victim.write_text("alive")
    mode = victim.stat().st_mode
    run = sandbox.run(fill(program, victim, os.getpid(), server.getsockname()[1]), "", LIMITS)
    assert run.status.value in statuses and "breach" not in run.stdout, run
    assert victim.read_text() == "alive" and victim.stat().st_mode == mode
    # the next program finds nothing of it
    after = sandbox.run("import os\nprint(os.listdir('.'), dict(os.environ))", "", LIMITS)
    assert (after.status, after.stdout) == (Status.FINISHED, "[] {}\n")


def test_a_signal_sent_by_a_program_would_have_worked(tmp_path):
    """The hostile programs print `breach` where nothing holds them: outside, these do."""
    victim = tmp_path / "victim"
    for name in ("signals a process of the user", "reads a file", "empties a file", "forks"):
        victim.write_text("alive")
        text = fill(HOSTILE[name][1], victim, os.getpid(), 9)
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
        assert "breach" in done.stdout, name


@pytest.mark.parametrize(
    "program, printed",
    [
        ("print(input(), sys.stdin.read())", "a b\n"),
        ("import os; os.write(1, os.read(0, 9))", "a\nb"),
        ("print(open(0).read())", "a\nb\n"),
        ("print(__name__, __import__('__main__').__name__)", "__main__ __main__\n"),
        ("import threading; threading.Thread(target=print, args=('late',)).start()", "late\n"),
        ("import atexit; atexit.register(print, 'bye'); print('hi')", "hi\nbye\n"),
        ("f = open(1, 'w', closefd=False); f.write('unclosed')", "unclosed"),
        (
            "print(sys.stdin.mode, sys.stdin.name, sys.stdout.mode, sys.stdout.name)",
            "r <stdin> w <stdout>\n",
        ),
        ("print(1); sys.stdout.close()", "1\n"),
        ("print(1, flush=True); sys.stdout = None", "1\n"),
        ("import io; sys.stdout = io.TextIOWrapper(sys.stdout.detach()); print(1)", "1\n"),
        ("open('mine', 'w').write('x'); print(open('mine').read())", "x\n"),
        ("print(1); sys.exit()", "1\n"),
        (
            "sys.setrecursionlimit(10**5)\nf = lambda n: n and 1 + f(n - 1)\nprint(f(9000))",
            "9000\n",
        ),
        ("import random; print(random.random())", "0.8444218515250481\n"),
    ],
)
def test_an_ordinary_program_finds_what_it_expects(sandbox, program, printed):
    run = sandbox.run(f"import sys\n{program}", "a\nb", LIMITS)
    assert (run.status, run.stdout) == (Status.FINISHED, printed), run


def test_an_error_is_told(sandbox):
    run = sandbox.run("print(1)\n1 / 0", "", LIMITS)
    assert run.status is Status.RUNTIME_ERROR and run.stdout == "1\n"
    assert run.error == "ZeroDivisionError: division by zero"
    assert sandbox.run("import sys; sys.exit(3)", "", LIMITS).error == "exit status 3"


def test_the_machine_of_this_suite_locks_programs_down():
    found = runner.protections()
    assert "Landlock" in found["files"] and "seccomp" in found["network"]


def test_a_machine_that_cannot_lock_down_is_refused_with_the_mend(monkeypatch):
    monkeypatch.setattr(runner, "ENVIRONMENT", {"PYTHONHOME": "/nowhere"})
    with pytest.raises(ValueError, match="^code cannot be run safely here: .*SANDBOX_URL"):
        Sandbox(1).run("", "", LIMITS)
    monkeypatch.setattr(lockdown, "_AUDIT_ARCH", {})
    with pytest.raises(lockdown.Missing, match="Linux on"):
        lockdown.require()


def test_a_lost_process_is_replaced_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before, children = left(tmp_path), psutil.Process().children()
    made = Sandbox(2)
    assert made.run("print(1)", "", LIMITS).stdout == "1\n"
    (around,) = (p for p in psutil.Process().children() if p not in children)
    around.send_signal(signal.SIGKILL)
    assert made.run("print(2)", "", LIMITS).stdout == "2\n"
    many = [threading.Thread(target=made.run, args=("while True: pass", "", LIMITS)) for _ in "abc"]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    made.close()
    assert left(tmp_path) <= before


def test_a_call_in_flight_fails_when_the_sandbox_is_closed():
    before = set(psutil.Process().children())
    made, found = Sandbox(1), []

    def call():
        try:
            made.run("import time; print('on', flush=True); time.sleep(100)", "", Limits(5, 60))
        except RuntimeError as error:
            found.append(str(error))

    made.run("", "", LIMITS)
    (around,) = set(psutil.Process().children()) - before
    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(below := around.children(recursive=True)) < 2:
        pass
    made.close()
    assert not any(process.is_running() for process in below)
    for thread in threads:
        thread.join(timeout=30)
    assert found == ["the sandbox is closed"] * 2


def test_when_the_parent_is_killed_the_sandbox_ends_with_its_program_and_folder(tmp_path):
    code = (
        "from common.sandbox.runner import Limits, Sandbox\n"
        "s = Sandbox(1)\ns.run('', '', Limits.of(1))\nprint('ready', flush=True)\n"
        "s.run('import time; time.sleep(100)', '', Limits(5, 60))"
    )
    env = os.environ | {"TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=env, stdout=subprocess.PIPE
    )
    assert parent.stdout.readline() == b"ready\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) >= 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert list(Path(tmp_path).iterdir()) == []


def test_when_the_parent_is_killed_before_the_sandbox_is_warm_its_folder_goes_too(tmp_path):
    code = "from common.sandbox.runner import Limits, Sandbox\nSandbox(1).run('', '', Limits.of(1))"
    env = os.environ | {"TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env)
    while not (children := psutil.Process(parent.pid).children()):
        pass
    parent.kill()
    parent.wait()
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_one_program_is_in_the_memory_of_the_next(sandbox):
    """Not the text of a program, what it read, or what it wrote (of a right one: the answer)."""
    secret = "x".join(["only", "here"])
    sandbox.run(f"print('{secret}-printed', input())  # {secret}", f"{secret}-read", LIMITS)
    look = (
        "import gc, sys\nwanted = 'only' + chr(120) + 'here'\n"
        "print(sum(wanted in o for o in gc.get_objects() if isinstance(o, str)))\n"
        "import ctypes\n"
        "libc = ctypes.CDLL(None)\nlibc.malloc.restype = ctypes.c_void_p\nhits = 0\n"
        "for size in (64, 256, 1024, 4096, 16384, 65536):\n"
        "    for _ in range(200):\n"
        "        hits += wanted.encode() in ctypes.string_at(libc.malloc(size), size)\n"
        "print(hits)"
    )
    run = sandbox.run(look, "", LIMITS)
    assert (run.status, run.stdout) == (Status.FINISHED, "0\n0\n"), run


def test_no_descriptor_of_the_sandbox_is_left_however_high_it_was():
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(120)]
    made = Sandbox(1)
    try:
        run = made.run(HOSTILE["keeps a descriptor of the sandbox"][1], "", LIMITS)
        assert (run.status, run.stdout) == (Status.FINISHED, "")
    finally:
        made.close()
        for file in many:
            os.close(file)


def test_an_older_landlock_lets_no_program_empty_a_file(tmp_path, monkeypatch):
    """Its first version has no right for that; seccomp refuses all ways but a writer's."""
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("alive")
    folder.mkdir()
    monkeypatch.setattr(lockdown, "landlock_version", lambda: 1)
    ruleset = lockdown.landlock_ruleset(str(folder))
    pid = os.fork()
    if pid == 0:
        try:
            lockdown.give_up_rights(ruleset)
            for mode in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_ACCMODE):
                with contextlib.suppress(PermissionError):
                    os.open(victim, mode | os.O_TRUNC)
            os.open("mine", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=os.open(folder, 0))
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert victim.read_text() == "alive" and (folder / "mine").exists()


def test_threads_that_wait_for_a_core_at_once_wait_once(monkeypatch):
    """Their sum is what a program with many threads makes of its own work."""
    waited = {"7": 1, "8": 3}

    def schedstat(path):
        return f"0 {waited[path.split('/')[4]]}000000000 5"

    monkeypatch.setattr(os, "listdir", lambda _: list(waited))
    monkeypatch.setattr(process, "_read", schedstat)
    queue = process.Queue()
    assert queue.look("7") == 3.0
    waited |= {"7": 2, "9": 2}
    assert queue.look("7") == 5.0
    del waited["8"], waited["9"]
    assert queue.look("7") == 5.0


def test_limits_follow_the_time_limit():
    assert Limits.of(2.0).wall_s == 5.0
