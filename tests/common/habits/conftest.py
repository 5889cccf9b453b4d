"""A language model behind an OpenAI-compatible endpoint, on this machine."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from common.habits.chat import Chat


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.bodies.append((self.path, dict(self.headers), body))
            status = server.plan.pop(0) if server.plan else 200
        content = {"error": "no"}
        if status == 200:
            text = server.answer(body["messages"])
            choice = {"message": {"content": text}, "finish_reason": "stop"}
            content = {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


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
