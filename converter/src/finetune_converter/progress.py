"""GET /progress (JSON) and GET /metrics (Prometheus) while a stage runs (contract/README.md)."""

import json
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

# As contract/metrics.json has them.
METRICS = {
    "finetune_step": "Steps done",
    "finetune_total_steps": "Steps in all",
    "finetune_eta_seconds": "Estimated seconds to the end of the stage",
}

logger = logging.getLogger(__name__)


class Progress:
    """How far a stage is; safe to read from the server's thread."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._done: int | None = None
        self._total: int | None = None
        self._start = (0, 0.0)
        registry = CollectorRegistry()
        self.registry = registry
        self._gauges = {
            name: Gauge(name, text, ["stage"], registry=registry).labels(stage)
            for name, text in METRICS.items()
        }

    def advance(self, done: int, total: int) -> None:
        """Say how many steps are done, of how many."""
        if self._done is None:
            self._start = (done, time.monotonic())
        self._done, self._total = done, total
        self._gauges["finetune_step"].set(done)
        self._gauges["finetune_total_steps"].set(total)
        self._gauges["finetune_eta_seconds"].set(self._eta_seconds() or math.nan)

    def to_json(self) -> dict[str, Any]:
        """The answer of GET /progress."""
        unknown = ("loss", "validationLoss", "tokensPerSecond", "lastCheckpoint")
        return {
            "stage": self._stage,
            "step": self._done,
            "totalSteps": self._total,
            "etaSeconds": self._eta_seconds(),
            **dict.fromkeys(unknown),
        }

    def _eta_seconds(self) -> float | None:
        first, then = self._start
        if self._done is None or self._total is None or self._done <= first:
            return None
        return (self._total - self._done) * (time.monotonic() - then) / (self._done - first)


class ProgressServer(ThreadingHTTPServer):
    """Listens on every address of the pod, of IPv4 and of IPv6: the cluster says which is asked."""

    daemon_threads = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


@contextmanager
def serve_progress(progress: Progress) -> Iterator[int | None]:
    """Serve on $FINETUNE_PROGRESS_PORT; yields the port. One that cannot be had must not stop a merge."""
    port = os.environ.get("FINETUNE_PROGRESS_PORT", "9400")
    try:
        server = ProgressServer(("", int(port)), _handler(progress))
    except (OSError, ValueError, OverflowError) as error:
        logger.warning("progress is not served: FINETUNE_PROGRESS_PORT %s: %s", port, error)
        yield None
        return
    threading.Thread(target=server.serve_forever, name="progress", daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _handler(progress: Progress) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            if self.path == "/progress":
                self._answer(json.dumps(progress.to_json()).encode(), "application/json")
            elif self.path == "/metrics":
                self._answer(generate_latest(progress.registry), "text/plain; version=0.0.4; charset=utf-8")
            else:
                self.send_error(404)

        def _answer(self, body: bytes, content_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    return Handler
