"""Child processes: followed, reported in one line, and never left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from common.config import ROOT
from common.process import MARK, StageError, end_left_over, environment, marked, run_child


def child(tmp_path, program, follow=lambda: None):
    log = tmp_path / "log.txt"
    run_child(["-c", textwrap.dedent(program)], environment("cpu"), log, follow)
    return log.read_text()


def test_output_goes_to_the_log_and_follow_is_called(tmp_path):
    calls = []
    assert child(tmp_path, "print('hello')", lambda: calls.append(1)) == "hello\n"
    assert calls


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("raise ValueError('the reason')", ["ValueError: the reason", "exit code 1"]),
        (
            "print('(Worker pid=7) OSError: [Errno 28] No space left on device'); exit(3)",
            ["OSError: [Errno 28] No space left", "exit code 3"],
        ),
        ("import os; os._exit(9)", ["ended with exit code 9"]),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", ["exit code -9"]),
    ],
)
def test_a_failure_is_one_line_with_reason_and_log(tmp_path, program, words):
    with pytest.raises(StageError) as error:
        child(tmp_path, program)
    text = str(error.value)
    assert "\n" not in text and "log.txt" in text
    assert all(word in text for word in words), text


def test_an_old_failure_in_the_log_is_not_reported_again(tmp_path):
    with pytest.raises(StageError):
        child(tmp_path, "raise ValueError('old')")
    with pytest.raises(StageError) as error:
        child(tmp_path, "exit(4)")
    assert "ValueError" not in str(error.value)


DETACHED = """
    import subprocess, sys
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
"""


def test_a_detached_grandchild_is_ended_with_its_parent(tmp_path):
    seen = []

    def look():
        for process in psutil.process_iter():
            try:
                if MARK in process.environ() and "sleep(600)" in " ".join(process.cmdline()):
                    seen.append(process)
            except psutil.Error:
                continue

    child(tmp_path, DETACHED + "    import time; time.sleep(1.5)\n", look)
    assert seen
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in seen)


def test_an_interrupt_ends_every_descendant(tmp_path):
    marks = []

    def follow():
        time.sleep(1)
        me = psutil.Process()
        marks.extend(p.environ()[MARK] for p in me.children() if MARK in p.environ())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child(tmp_path, "import time; time.sleep(601)", follow)
    assert marks
    assert not list(marked(marks[0]))


@pytest.fixture
def heard():
    """Ctrl-C as in a terminal: a suite that runs in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_interrupt_during_the_clean_up_is_ignored(tmp_path, heard):
    program = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(603)
    """
    marks = []

    def follow():
        time.sleep(1)
        marks.extend(p.environ().get(MARK) for p in psutil.Process().children())
        # arrives while the child, deaf to SIGTERM, is waited for
        subprocess.Popen(["bash", "-c", f"sleep 1; kill -INT {os.getpid()}"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child(tmp_path, program, follow)
    assert marks and not list(marked(marks[0]))
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_kill_9_of_the_launcher_ends_the_child(tmp_path):
    program = f"""
        from pathlib import Path
        from common.process import environment, run_child
        run_child(["-c", "import os, time; print(os.getpid(), flush=True); time.sleep(602)"],
                  environment("cpu"), Path({str(tmp_path / 'log.txt')!r}))
    """
    launcher = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT)
    log = tmp_path / "log.txt"
    deadline = time.time() + 60
    while time.time() < deadline and not (log.exists() and log.read_text().strip()):
        time.sleep(0.1)
    pid = int(log.read_text())
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=20)
        psutil.Process(pid)


def test_what_a_killed_launcher_left_is_ended_by_who_holds_the_folder(tmp_path, capfd):
    def sleeper(folder):
        env = os.environ | {MARK: str(folder)}
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(604)"], env=env)

    run = tmp_path / "seed1"
    left = [sleeper(run), sleeper(run / "train")]
    other = sleeper(tmp_path / "seed11")
    try:
        end_left_over(run)
        for ended in left:
            ended.wait(timeout=10)  # raises TimeoutExpired while it sleeps
        assert other.poll() is None
        assert "ended 2 processes" in capfd.readouterr().err
        end_left_over(run)
        assert not capfd.readouterr().err
    finally:
        other.kill()
        other.wait()


def test_a_failure_on_a_full_disk_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("common.process.FULL_BYTES", float("inf"))
    with pytest.raises(StageError, match="No space left on device: RuntimeError: write failed"):
        child(tmp_path, "raise RuntimeError('write failed')")


def test_the_environment_loads_the_plugin_and_switches_the_cpu_parts():
    cpu, cuda = environment("cpu"), environment("cuda")
    assert cpu["VERL_USE_EXTERNAL_MODULES"] == cuda["VERL_USE_EXTERNAL_MODULES"] == "common.plugin"
    assert cpu["VERL_PLATFORM"] == "cpu" and "VERL_PLATFORM" not in cuda
    assert cpu["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)
