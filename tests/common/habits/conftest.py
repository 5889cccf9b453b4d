"""A language model behind an OpenAI-compatible endpoint, on this machine."""

import threading
from http.server import ThreadingHTTPServer

import pytest

from common.habits.chat import Chat
from tests.json_server import JsonHandler


class Endpoint(JsonHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = self.body()
        with server.lock:
            server.bodies.append((self.path, dict(self.headers), body))
            status = server.plan.pop(0) if server.plan else 200
        content = {"error": "no"}
        if status == 200:
            text = server.answer(body["messages"])
            choice = {"message": {"content": text}, "finish_reason": "stop"}
            content = {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
        self.send(status, content)


@pytest.fixture
def endpoint(tmp_path):
    """`bodies`: what was asked; `plan`: statuses to come; `answer(messages)`: the model;
    `chat(**options)`: a client of it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.lock, server.plan, server.bodies = threading.Lock(), [], []
    server.answer = lambda messages: messages[-1]["content"].upper()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/v1"

    def chat(**options):
        given = {"max_tokens": 9, "temperature": 0.0, "backoff_s": 0.001, "retries": 2} | options
        return Chat(url, "m", tmp_path / "answers.jsonl", **given)

    server.chat, server.url = chat, url
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def asked():
    return lambda *texts: [[{"role": "user", "content": text}] for text in texts]
