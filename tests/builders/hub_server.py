"""A local server that speaks as much of the hub's API as huggingface_hub needs to fetch a snapshot.

It can cut an answer off, send something else than it should, and refuse.
"""

import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

COMMIT = "c" * 40
# From this size on the real hub keeps files in LFS, with their sha256.
LFS_BYTES = 1_000_000


@dataclass
class Faults:
    """What goes wrong. The first two are by file name and count down."""

    cut_after: dict[str, int] = field(default_factory=dict)
    """Close the connection after so many bytes, once."""
    corrupt: dict[str, int] = field(default_factory=dict)
    """Send a wrong byte, so many times."""
    status: int | None = None
    error_code: str = ""
    """X-Error-Code, by which the client tells refusals apart."""
    limited: int = 0
    """Answer 429 so many times, and that the limit ends at once."""
    page: bool = False
    """Answer every request with an HTML page and status 200, as a login page in between does."""


class HubServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.faults = Faults()
        self.ranges: list[tuple[str, str]] = []
        self.fetched: list[str] = []
        self.tokens: set[str | None] = set()
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def add(self, repository: str, files: dict[str, bytes]) -> None:
        """A dataset's repository begins with "datasets/"."""
        self.repositories[repository] = files

    def __enter__(self) -> "HubServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Connections are cut on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._serve(with_body=False)

    def do_GET(self) -> None:
        self._serve(with_body=True)

    def _serve(self, *, with_body: bool) -> None:
        path = unquote(urlparse(self.path).path)
        if any(name in path for name in self.server.repositories):
            self.server.tokens.add(self.headers.get("Authorization"))
        if self.server.faults.page:
            return self._answer(200, b"<!DOCTYPE html><html>sign in</html>", {"Content-Type": "text/html"})
        if self.server.faults.limited:
            self.server.faults.limited -= 1
            return self._answer(429, b"{}", {"Retry-After": "0"})
        if self.server.faults.status:
            return self._refuse(self.server.faults.status, self.server.faults.error_code)
        if api := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
            return self._info(*api.groups())
        if tree := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/tree/([^/]+)", path):
            return self._tree(tree[1], tree[2])
        if file := re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(file[1], file[3], with_body)
        return self._refuse(404, "")

    def _info(self, kind: str, name: str, revision: str | None) -> None:
        files = self.server.repositories.get(name if kind == "models" else f"datasets/{name}")
        if files is None:
            return self._refuse(401, "RepoNotFound")
        if revision not in (None, "main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        siblings = [_sibling(name, content) for name, content in files.items()]
        body = json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode()
        return self._answer(200, body, {"Content-Type": "application/json"})

    def _tree(self, kind: str, name: str) -> None:
        files = self.server.repositories[name if kind == "models" else f"datasets/{name}"]
        body = json.dumps([_entry(name, content) for name, content in files.items()]).encode()
        self._answer(200, body, {"Content-Type": "application/json"})

    def _file(self, repository: str, name: str, with_body: bool) -> None:
        content = self.server.repositories[repository].get(name)
        if content is None:
            return self._refuse(404, "EntryNotFound")
        headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if not with_body:
            return self._answer(200, content, headers, with_body=False)
        self.server.fetched.append(name)
        start = 0
        if requested := self.headers.get("Range"):
            self.server.ranges.append((name, requested))
            start = int(requested.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._answer(
            206 if start else 200, self._with_faults(name, content)[start:], headers, name=name
        )

    def _with_faults(self, name: str, content: bytes) -> bytes:
        if not self.server.faults.corrupt.get(name):
            return content
        self.server.faults.corrupt[name] -= 1
        return content[:-1] + bytes([content[-1] ^ 1])

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str], *, with_body: bool = True, name: str = ""
    ) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if not with_body:
            return
        cut = self.server.faults.cut_after.pop(name, None)
        self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": "refused"}, with_body=True)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if len(content) >= LFS_BYTES else _blob(content)


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": _blob(content)}
    if len(content) >= LFS_BYTES:
        sibling["lfs"] = {"sha256": _etag(content), "size": len(content), "pointerSize": 134}
    return sibling


def _entry(name: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": _blob(content)}
    if len(content) >= LFS_BYTES:
        entry["lfs"] = {"oid": _etag(content), "size": len(content), "pointerSize": 134}
    return entry
