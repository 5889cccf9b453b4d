"""The client of a sandbox service, against a server on this machine that speaks its interface."""

import threading
from http.server import ThreadingHTTPServer

import pytest

from common.rewards import code
from common.rewards.verdict import Outcome
from common.sandbox.judge import judge
from common.sandbox.problem import Problem
from common.sandbox.runner import Limits, Sandbox, Status
from common.sandbox.service import Service
from tests.json_server import JsonHandler

pytestmark = pytest.mark.sandbox

LIMITS = Limits.of(1.0)


def answer(status, return_code=0, stdout="", stderr=""):
    ran = {"status": status, "execution_time": 0.1, "return_code": return_code}
    ran |= {"stdout": stdout, "stderr": stderr}
    good = status == "Finished" and not return_code
    return {"status": "Success" if good else "Failed", "message": "", "run_result": ran}


class Handler(JsonHandler):
    """Runs what it is sent in the sandbox of this machine, after what `server.plan` says."""

    def do_POST(self):
        body = self.body()
        self.server.bodies.append(body)
        step = self.server.plan.pop(0) if self.server.plan else None
        if isinstance(step, int):
            return self.send(step, {})
        if step is None:
            run = self.server.sandbox.run(body["code"], body["stdin"], LIMITS)
            ended = "TimeLimitExceeded" if run.status is Status.TIME_LIMIT else "Finished"
            ended = "Error" if run.status is Status.RUNTIME_ERROR else ended
            step = answer(ended, int(ended == "Error"), run.stdout, run.error)
        return self.send(200, step)


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.plan, made.bodies, made.sandbox = [], [], Sandbox(1)
    made.url = f"http://127.0.0.1:{made.server_port}/run_code"
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()
    made.sandbox.close()


def test_a_service_gives_the_verdicts_of_the_machine(server):
    service = Service(server.url)
    stdin = Problem.of({"inputs": ["1", "2"], "outputs": ["1", "4"]})
    function = Problem.of({"inputs": ["[1, 2]"], "outputs": ["3"], "fn_name": "f"})
    solutions = [
        "print(int(input()) ** 2)",
        "print(1)",
        "1 / 0",
        "class Solution:\n  f = lambda s, x: sum(x)",
    ]
    for problem in (stdin, function):
        for solution in solutions:
            assert judge(solution, problem, service) == judge(solution, problem, server.sandbox)
    body = server.bodies[0]
    assert body["language"] == "python" and body["stdin"] == "1" and body["run_timeout"] == 13
    service.close()


def test_a_service_is_asked_again_for_a_while_and_then_lost(server):
    service = Service(server.url, retries=2, backoff_s=0.01)
    server.plan[:] = [503, 429]
    assert service.run("print(1)", "", LIMITS).stdout == "1\n" and len(server.bodies) == 3
    server.plan[:] = [504] * 3
    run = service.run("print(1)", "", LIMITS)
    assert run.status is Status.LOST and "504" in run.error and len(server.bodies) == 6
    service.close()


@pytest.mark.parametrize(
    "step, status",
    [
        (answer("Finished", 0, "1"), Status.FINISHED),
        (answer("Finished", 1, "", "Traceback\nMemoryError"), Status.MEMORY_LIMIT),
        (answer("Error", 1, "", "Traceback\nKeyError: 1"), Status.RUNTIME_ERROR),
        (answer("TimeLimitExceeded"), Status.TIME_LIMIT),
        (answer("Finished", 0, "x" * (LIMITS.output_bytes + 1)), Status.OUTPUT_LIMIT),
        ({"status": "SandboxError", "message": "no\nroom", "run_result": None}, Status.LOST),
        ({"status": "Success"}, Status.LOST),
        ([], Status.LOST),
        (404, Status.LOST),
    ],
)
def test_what_a_service_answers_becomes_a_status(server, step, status):
    server.plan[:] = [step]
    service = Service(server.url, retries=0)
    run = service.run("print(1)", "", LIMITS)
    assert run.status is status and "\n" not in run.error
    service.close()


def test_a_row_that_the_service_lost_is_ungradable(server, monkeypatch):
    server.plan[:] = [{"status": "SandboxError", "message": "full"}]
    monkeypatch.setenv("SANDBOX_URL", server.url)
    row = {"response": "```python\nprint(1)\n```", "gold": {"inputs": [""], "outputs": ["1"]}}
    assert code.grade(row).outcome is Outcome.UNGRADABLE
    assert code.grade(row).outcome is Outcome.CORRECT
    monkeypatch.setenv("SANDBOX_URL", "localhost:8080")
    with pytest.raises(ValueError, match="SANDBOX_URL=localhost:8080: write an address"):
        code.grade(row)
