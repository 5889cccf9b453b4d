"""The clients of services against a real HTTP server on this machine."""

import asyncio
import json
import threading
import time
from http.server import ThreadingHTTPServer

import pytest

from common.services.client import ServiceError
from common.services.reference import ReferenceModel
from common.services.reward import RewardModel
from tests.json_server import JsonHandler


class Service(JsonHandler):
    """Scores a text by its length, after what `server.plan` says of the requests to come."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = self.body()
        with server.lock:
            server.bodies.append(body)
            server.busy += 1
            server.most = max(server.most, server.busy)
            step = server.plan.pop(0) if server.plan else None
        time.sleep(0.02)
        with server.lock:
            server.busy -= 1
        if step == "hang up":
            self.close_connection = True
            self.connection.close()
        elif step == "stall":
            time.sleep(0.5)
            self.send(200, {"scores": []})
        elif isinstance(step, int):
            self.send(step, {"error": "no\nscores"}, {"retry-after": "0"})
        else:
            self.send(200, server.answer(self.path, body) if step is None else step)

    def do_GET(self):
        server = self.server
        failing = bool(server.plan) and not server.healthy
        if failing:
            server.plan.pop(0)  # before the answer: the next plan may come right after it
        self.send(200 if self.path == "/health" and not failing else 503, {})


def answer(path, body):
    if path == "/v1/score":
        pairs = zip(body["text_1"], body["text_2"], strict=True)
        data = [{"index": i, "score": len(p) * 100 + len(r)} for i, (p, r) in enumerate(pairs)]
        return {"data": data[::-1]}  # the protocol has an index: the order is the server's affair
    if path == "/classify":
        data = [{"index": i, "probs": [0.5, len(t)]} for i, t in enumerate(body["input"])]
        return {"data": data[::-1]}
    if path == "/pooling":
        data = [{"index": i, "data": [[9.0], [len(t)]]} for i, t in enumerate(body["input"])]
        return {"data": data[::-1]}
    if path == "/v1/completions":
        choices = [
            {
                "index": n,
                "prompt_logprobs": [
                    {str(i): {"logprob": -i, "rank": 2}, "99": {"logprob": 0, "rank": 1}}
                    if k
                    else None
                    for k, i in enumerate(ids)
                ],
            }
            for n, ids in enumerate(body["prompt"])
        ]
        return {"choices": choices[::-1]}
    return {"scores": [len(t) for t in body["texts"]]}


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    made.lock, made.plan, made.bodies, made.answer = threading.Lock(), [], [], answer
    made.busy = made.most = 0
    made.healthy = False  # also while it fails
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def client(server, path="/rewards", **options):
    url = f"http://127.0.0.1:{server.server_port}{path}"
    kind = ReferenceModel if path == "/v1/completions" else RewardModel
    defaults = {"backoff_s": 0.001, "timeout_s": 5.0, "wait_s": 0}
    return kind(url, "rm", **defaults | options)


TEXTS = ["", "a", "\u00e9\U0001f600", "x" * 5000]


def test_plain_json(server):
    with client(server) as model:
        assert model.score(TEXTS) == [0.0, 1.0, 2.0, 5000.0]
        assert model.score([]) == []
    assert server.bodies == [{"texts": TEXTS}]


def test_the_forms_of_vllm(server):
    with client(server, "/classify") as model:
        assert model.score(TEXTS) == [0.0, 1.0, 2.0, 5000.0]
    assert server.bodies[-1] == {
        "model": "rm",
        "input": TEXTS,
        "use_activation": False,
        "add_special_tokens": False,
        "truncate_prompt_tokens": -1,
    }
    with client(server, "/classify", weights=(2.0, 0.5)) as model:
        assert model.score(["abc"]) == [2 * 0.5 + 0.5 * 3]
    with client(server, "/pooling") as model:
        assert model.score(TEXTS) == [0.0, 1.0, 2.0, 5000.0]
    with client(server, "/v1/score/") as model:
        server.answer = lambda _, body: answer("/v1/score", body)
        assert model.score([("ab", "c"), ("", "def")]) == [201.0, 3.0]
    assert server.bodies[-1] == {"model": "rm", "text_1": ["ab", ""], "text_2": ["c", "def"]}


def test_log_probabilities_in_the_form_of_vllm(server):
    with client(server, "/v1/completions", batch=2, concurrency=1) as model:
        assert model.log_probs([[5, 1, 3], [7], [2, 99]]) == [[-1.0, -3.0], [], [0.0]]
        model.check()
    assert server.bodies[0] == {
        "model": "rm",
        "prompt": [[5, 1, 3], [7]],
        "max_tokens": 1,
        "prompt_logprobs": 0,
        "temperature": 1.0,
    }
    # vLLM gives them at temperature 1 whatever it is asked for
    with (
        client(server, "/v1/completions", temperature=0.6) as model,
        pytest.raises(ServiceError, match="at temperature 1, and 0.6 is wanted"),
    ):
        model.check()


def test_batches_keep_the_order_and_few_requests_are_in_flight(server):
    texts = ["x" * i for i in range(50)]
    with client(server, batch=4, concurrency=3) as model:
        assert model.score(texts) == list(range(50))
    assert sorted(len(body["texts"]) for body in server.bodies) == [2, *[4] * 12]
    assert 1 < server.most <= 3


def test_coroutines_share_the_client(server):
    async def all_of_them():
        with client(server) as model:
            return await asyncio.gather(*(model.ascore(["x" * i]) for i in range(20)))

    assert asyncio.run(all_of_them()) == [[float(i)] for i in range(20)]


@pytest.mark.parametrize("step", [408, 429, 500, 502, 503, 504, "hang up"])
def test_what_may_pass_is_tried_again(server, step):
    server.plan = [step, step]
    with client(server) as model:
        assert model.score(["abc"]) == [3.0]
    assert len(server.bodies) == 3


def test_a_stalled_request_is_given_up_and_tried_again(server):
    server.plan = ["stall"]
    with client(server, timeout_s=0.1) as model:
        assert model.score(["abc"]) == [3.0]


def test_attempts_are_bounded(server):
    server.plan = [503] * 100
    with client(server, retries=2) as model, pytest.raises(ServiceError) as error:
        model.score(["abc"])
    assert "/rewards: 503 Service Unavailable, 3 times in a row" in str(error.value)
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (400, '400 Bad Request: {"error": "no'),
        (404, "404 Not Found"),
        (b"<html>", "another form"),
        ({"score": [1]}, "another form .KeyError: 'scores'"),
        ({"scores": ["good"]}, "another form"),
        ({"scores": [None]}, "another form"),
        ([1], "another form"),
        ({"scores": [1, 2]}, "2 answers for 1 items"),
        (b'{"scores": [NaN]}', "no finite number"),
    ],
)
def test_a_wrong_answer_is_an_error_at_once_in_one_line(server, step, says):
    server.plan = [step]
    with client(server) as model, pytest.raises(ServiceError, match=says) as error:
        model.score(["abc"])
    assert "\n" not in str(error.value) and "reward service http://127" in str(error.value)
    assert len(server.bodies) == 1


def test_no_server_is_an_error_that_names_the_address(server):
    url = "http://127.0.0.1:9/rewards"
    with (
        RewardModel(url, retries=1, backoff_s=0.001, wait_s=0) as model,
        pytest.raises(ServiceError, match="127.0.0.1:9/rewards: ConnectError.*2 times"),
    ):
        model.score(["abc"])
        assert not model.healthy()


def test_health_can_be_waited_for(server):
    with client(server) as model:
        assert model.healthy()
        server.plan = [0]
        assert not model.healthy()
        server.plan = [0]
        assert model.healthy(wait_s=5.0)


def test_callers_with_one_text_each_make_batches(server):
    server.plan = [503] * 3  # three requests of one text, busy until the others have come

    async def all_of_them():
        with client(server, concurrency=3, backoff_s=0.3) as model:
            return await asyncio.gather(*(model.ascore(["x" * i]) for i in range(33)))

    assert asyncio.run(all_of_them()) == [[float(i)] for i in range(33)]
    assert len(server.bodies) <= 3 + 3 + 6


def test_all_wait_while_the_service_is_away_and_go_on_at_its_new_address(
    server, tmp_path, monkeypatch
):
    address, said = tmp_path / "reward.json", []

    def told(port):
        url = f"http://127.0.0.1:{port}/rewards"
        address.write_text(json.dumps({"kind": "reward", "url": url}))

    def say(text):
        said.append(text)
        told(server.server_port)

    monkeypatch.setattr("common.services.client.say", say)
    told(9)  # nobody is there
    with RewardModel(str(address), retries=1, backoff_s=0.001, batch=1, wait_s=60) as model:
        assert model.score(["a", "bb", "ccc"]) == [1.0, 2.0, 3.0]
    away, back = said  # each once, whoever waits
    assert "away (ConnectError" in away and "waiting up to 60 s" in away and "going on" in back


def test_a_service_that_stays_away_is_an_error_of_one_line(tmp_path):
    missing = str(tmp_path / "reward.json")
    with (
        RewardModel(missing, retries=0, batch=1, wait_s=0.1) as model,
        pytest.raises(ServiceError, match="NoAddress .*away for 0.1 s; start it again"),
    ):
        model.score(["a", "b"])


def test_a_service_that_is_there_and_fails_is_not_waited_for(server):
    server.healthy = True
    server.plan = [503] * 100
    with (
        client(server, retries=0, wait_s=60) as model,
        pytest.raises(ServiceError, match="503 Service Unavailable, 1 times in a row"),
    ):
        model.score(["a"])


def test_the_address_of_another_service_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"kind": "reference", "url": "http://127.0.0.1:9/x"}')
    with (
        RewardModel(str(tmp_path / "a.json"), wait_s=0) as model,
        pytest.raises(ServiceError, match="the address of a reference service"),
    ):
        model.score(["a"])


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x/y", "http://"])
def test_a_wrong_address_is_refused(url):
    with pytest.raises(ValueError, match="address is wanted"):
        RewardModel(url)


@pytest.mark.parametrize("name", ["batch", "concurrency", "retries"])
def test_a_wrong_number_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}=-1 is too small"):
        RewardModel("http://localhost/x", **{name: -1})


def test_no_thread_of_the_client_is_left_after_close(server):
    def threads():
        return [t for t in threading.enumerate() if t.name.startswith("reward service")]

    model = client(server)
    model.score(["a"])
    assert threads()
    model.close()
    assert not threads()
