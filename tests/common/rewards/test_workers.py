"""Killable graders: a verdict or none, in bounded time, and nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from common.rewards import workers
from common.rewards.registry import ROOT
from common.rewards.verdict import Outcome

NAME = "tests.common.rewards.misbehaving:misbehaving"
GOOD = {"response": "42", "gold": "42"}


@pytest.fixture(scope="module")
def pool():
    made = workers.Pool(workers=4, deadline_s=0.1)
    yield made
    made.close()


def ask(pool, response):
    return pool.grade(NAME, {"response": response, "gold": "42"})


def test_a_worker_gives_the_graders_own_verdict(pool):
    right, wrong = ask(pool, "42"), ask(pool, None)
    assert (right.outcome, right.score, right.extracted) == (Outcome.CORRECT, 1.0, "42")
    assert (wrong.outcome, wrong.score, wrong.extracted) == (Outcome.WRONG, -2.0, None)
    assert right.details["pid"] == ask(pool, "1").details["pid"] != os.getpid()


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("spin", "deadline"),
        ("power", "deadline"),  # one C call: no signal handler of Python would run in it
        ("sleep", "deadline"),
        ("eat", "memory"),
        ("exit", "crash"),
        ("kill", "refused"),
        ("recurse", "crash"),
        ("fault", "crash"),
        ("eval", "refused"),
        ("exec, hidden", "refused"),
        ("shell", "refused"),
        ("program", "refused"),
        ("fork", "refused"),
        ("network", "refused"),
        ("read", "refused"),
        ("write", "refused"),
    ],
)
def test_without_a_verdict_an_answer_is_paid_like_none_and_the_next_is_graded(pool, act, reason):
    verdict = ask(pool, act)
    assert (verdict.outcome, verdict.score) == (Outcome.UNGRADABLE, -2.0)
    assert verdict.details == {"said": [False], reason: 1.0}  # lists as of no response
    assert ask(pool, "42").outcome is Outcome.CORRECT


def test_a_module_that_was_not_warmed_may_be_imported(pool):
    assert ask(pool, "import").outcome is Outcome.WRONG


@pytest.mark.parametrize("text", ["", "\ud800\x00\u202e", "x" * 10**6, "\n\r\u2028{}\"'\\"])
def test_any_text_reaches_the_grader_and_comes_back(pool, text):
    assert ask(pool, text).extracted == text


def test_a_refused_row_is_a_value_error_and_costs_no_worker(pool):
    before = ask(pool, "42").details["pid"]
    with pytest.raises(ValueError, match="gold: text is wanted, not 7"):
        pool.grade(NAME, {"response": "42", "gold": 7})
    assert ask(pool, "42").details["pid"] == before


def test_each_row_of_a_list_has_a_deadline_of_its_own(pool):
    acts = ["42", "spin", "1", "exit", "42", "spin"]
    rows = [{"response": act, "gold": "42"} for act in acts] + [{"response": "", "gold": None}]
    *found, refused = pool.grade_all(NAME, rows)
    outcomes = [verdict.outcome.value for verdict in found]
    assert outcomes == ["correct", "ungradable", "wrong", "ungradable", "correct", "ungradable"]
    assert isinstance(refused, ValueError)


def test_many_hard_answers_in_flight_cost_no_easy_one_its_verdict(pool):
    responses = ["power"] * 32 + ["42"] * 20
    with ThreadPoolExecutor(6) as threads:  # verl scores in the threads of an executor
        found = list(threads.map(lambda response: ask(pool, response), responses))
    assert [v.outcome for v in found] == [Outcome.UNGRADABLE] * 32 + [Outcome.CORRECT] * 20


def test_a_killed_keeper_costs_no_answer_its_verdict(pool):
    ask(pool, "42")
    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(ask, pool, "42") for _ in range(40)]
        pool._keeper.kill()
        assert [f.result().outcome for f in found] == [Outcome.CORRECT] * 40


def test_one_keeper_that_dies_slowly_is_one_lost_keeper(monkeypatch):
    """Its sockets close before it can be waited for, on a busy machine long before."""
    monkeypatch.setattr(workers, "_LOST_KEEPERS", 2)
    pool = workers.Pool(workers=1, deadline_s=0.1)
    try:
        ask(pool, "42")
        dying, worker = pool._keeper, pool._slots.get()
        wait = dying.wait

        def late(timeout=None):
            if timeout is not None and timeout < 1:
                raise subprocess.TimeoutExpired("keeper", timeout)
            return wait(timeout)

        monkeypatch.setattr(dying, "wait", late)
        pool._control.shutdown(socket.SHUT_RDWR)
        psutil.wait_procs([psutil.Process(worker.pid)])
        pool._slots.put(worker)
        assert ask(pool, "42").outcome is Outcome.CORRECT
        assert pool._keeper is not dying
    finally:
        pool.close()


def test_a_closed_pool_leaves_no_process_and_no_thread():
    threads = threading.active_count()
    pool = workers.Pool(workers=3, deadline_s=0.1)
    rows = ["spin", "42", "eat"]
    with ThreadPoolExecutor(3) as executor:
        list(executor.map(lambda response: ask(pool, response), rows))
    keeper = psutil.Process(pool._keeper.pid)
    family = [keeper, *keeper.children(recursive=True)]
    assert len(family) > 1
    pool.close()
    assert not any(process.is_running() for process in family)
    assert threading.active_count() == threads
    with pytest.raises(RuntimeError, match="closed"):
        ask(pool, "42")
    pool.close()


PARENT = f"""
import os, sys, threading
from common.rewards import workers
row = {{"response": "42", "gold": "42"}}
print(os.getpid(), workers.grade({NAME!r}, row).details["pid"], flush=True)
if sys.argv[1] == "busy":
    hard = {{"response": "sleep", "gold": "42"}}
    for _ in range(2):
        threading.Thread(target=workers.grade, args=({NAME!r}, hard), daemon=True).start()
if sys.argv[1] == "fork" and os.fork() == 0:  # holds all sockets of its parent open
    assert workers.grade({NAME!r}, row).outcome.value == "correct"
    print("forked", flush=True)
    sys.stdin.read()
    sys.exit()
print("ready", flush=True)
sys.stdin.read()
"""


def start_parent(mode):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, mode],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    worker = psutil.Process(int(parent.stdout.readline().split()[1]))
    lines = {parent.stdout.readline().strip() for _ in range(2 if mode == "fork" else 1)}
    assert "ready" in lines
    return parent, [worker.parent(), *worker.parent().children()]


@pytest.mark.parametrize("mode", ["idle", "busy"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_end_of_the_parent_is_the_end_of_all(how, mode):
    parent, family = start_parent(mode)
    if how is None:
        parent.stdin.close()  # it returns from its last line
    else:
        parent.send_signal(how)
    parent.wait()
    gone, left = psutil.wait_procs(family, timeout=10)
    assert len(gone) >= 2 and not left


def test_a_fork_of_the_parent_has_its_own_workers_and_keeps_no_other_alive():
    parent, family = start_parent("fork")
    (fork,) = (p for p in psutil.Process(parent.pid).children() if p not in family)
    parent.kill()
    parent.wait()
    _, left = psutil.wait_procs(family, timeout=10)
    assert not left and fork.is_running()
    others = fork.children(recursive=True)
    assert others
    parent.stdin.close()
    _, left = psutil.wait_procs([fork, *others], timeout=10)
    assert not left


def test_a_grader_that_is_not_there_is_named():
    pool = workers.Pool(workers=1)
    try:
        with pytest.raises(ValueError, match="no grader 'misspelt'"):
            pool.grade("misspelt", GOOD)
    finally:
        pool.close()


def test_waiting_for_a_worker_is_not_charged():
    pool = workers.Pool(workers=1, deadline_s=0.1)
    try:
        with ThreadPoolExecutor(9) as threads:
            hard = [threads.submit(ask, pool, "spin") for _ in range(8)]
            time.sleep(0.05)
            assert ask(pool, "42").outcome is Outcome.CORRECT
            assert {h.result().outcome for h in hard} == {Outcome.UNGRADABLE}
    finally:
        pool.close()
