"""What the tests' HTTP servers share: JSON in, JSON out, nothing on the terminal."""

import json
from http.server import BaseHTTPRequestHandler


class JsonHandler(BaseHTTPRequestHandler):
    """`send` answers with JSON, or with bytes as they are; `body` reads the request's JSON."""

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["content-length"])))

    def send(self, status, content, headers=()):
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in dict(headers, **{"content-length": len(text)}).items():
            self.send_header(key, str(value))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass
