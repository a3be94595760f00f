"""Stands for vLLM in unit tests: /health, /adapters, /v1/completions and a streamed /v1/chat/completions.

`FAKE/serve` holds `crash` to end at once, or `unfit` to be healthy and fail every generation.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ORDER = Path(os.environ["FAKE"]) / "serve"
UNFIT = ORDER.exists() and ORDER.read_text() == "unfit"


def argument(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


class Handler(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        if self.path == "/adapters":
            self.send_response(200)
            self.end_headers()
            wanted = json.loads((Path(os.environ["PYTHONPATH"]) / "adapters.json").read_text())
            self.wfile.write(json.dumps({"adapters": wanted}).encode())
            return
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if UNFIT or body["model"] != argument("--served-model-name"):
            self.send_response(500)
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        if self.path == "/v1/completions":
            self.wfile.write(json.dumps({"choices": [{"text": "!"}]}).encode())
            return
        words = ("You asked: ", body["messages"][-1]["content"])
        for word in words:
            event = {"choices": [{"delta": {"content": word}}]}
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")


if ORDER.exists() and ORDER.read_text() == "crash":
    sys.exit("error: the model does not fit")
assert Path(argument("--model")).is_dir(), argument("--model")
ThreadingHTTPServer(("127.0.0.1", int(argument("--port"))), Handler).serve_forever()
