"""A registry that speaks the OCI distribution API's pushes, with tokens, and checks every digest."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOGIN = "Basic dXNlcjpwYXNz"  # user:pass


class FakeRegistry(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads = 0


class _Handler(BaseHTTPRequestHandler):
    server: FakeRegistry

    def do_GET(self) -> None:
        if self.path.startswith("/token"):
            asked = "scope=repository%3Aacme%2Ffaq%3Apull%2Cpush" in self.path
            allowed = asked and self.headers.get("Authorization") == LOGIN
            return self._answer(200 if allowed else 401, {}, b'{"token": "t"}')
        return self._answer(200, {}) if self._authorized() else None

    def do_HEAD(self) -> None:
        if self._authorized():
            self._answer(200 if self.path.rpartition("/")[2] in self.server.blobs else 404, {})

    def do_POST(self) -> None:
        if self._authorized():
            self._answer(202, {"Location": f"{self.path}session?state=1"})

    def do_PUT(self) -> None:
        if not self._authorized():
            return
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if manifest := re.fullmatch(r"/v2/acme/faq/manifests/(.+)", self.path):
            known = {layer["digest"] for layer in json.loads(content)["layers"]}
            self.server.manifests[manifest[1]] = content
            self._answer(201 if known <= self.server.blobs.keys() else 400, {})
            return
        digest = re.search(r"digest=sha256%3A(\w+)", self.path) or re.search(
            r"digest=sha256:(\w+)", self.path
        )
        if digest is None or "state=1" not in self.path or hashlib.sha256(content).hexdigest() != digest[1]:
            self._answer(400, {}, b"digest invalid")
            return
        self.server.uploads += 1
        self.server.blobs[f"sha256:{digest[1]}"] = content
        self._answer(201, {})

    def _authorized(self) -> bool:
        if self.headers.get("Authorization") == "Bearer t":
            return True
        realm = f'Bearer realm="http://{self.server.host}/token",service="fake"'
        self._answer(401, {"WWW-Authenticate": realm})
        return False

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    server = FakeRegistry()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
