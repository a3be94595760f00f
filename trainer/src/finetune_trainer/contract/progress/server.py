"""GET /progress (JSON) and GET /metrics (Prometheus), from a thread."""

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from finetune_trainer.contract.progress.snapshot import Progress

logger = logging.getLogger(__name__)
PORT = "FINETUNE_PROGRESS_PORT"
DEFAULT_PORT = 9400

Read = Callable[[], Progress]


@contextmanager
def serve_progress(read: Read, *, labels: Mapping[str, str] | None = None) -> Iterator[int | None]:
    """Serve what `read` returns on $FINETUNE_PROGRESS_PORT, 0 for any; yields the port.

    A port that cannot be had must not stop a training: it is logged, and None is yielded.
    """
    try:
        server = ProgressServer(("", int(os.environ.get(PORT, DEFAULT_PORT))), read, labels or {})
    except (OSError, ValueError, OverflowError) as error:
        logger.warning("progress is not served: %s %s: %s", PORT, os.environ.get(PORT, DEFAULT_PORT), error)
        yield None
        return
    thread = threading.Thread(target=server.serve_forever, name="progress", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class ProgressServer(ThreadingHTTPServer):
    """Listens on every address of the pod, of IPv4 and of IPv6: the cluster says which is asked."""

    daemon_threads = True
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def __init__(self, address: tuple[str, int], read: Read, labels: Mapping[str, str]) -> None:
        super().__init__(address, _Handler)
        self.read = read
        self.registry = CollectorRegistry()
        self.registry.register(ProgressCollector(read, labels))

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, _request: object, client_address: object) -> None:
        """A client that went away is no news."""
        logger.debug("GET of %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: ProgressServer
    timeout: ClassVar[int] = 5

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/progress":
            self._answer("application/json", json.dumps(self.server.read().to_json()).encode())
        elif path == "/metrics":
            self._answer(CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self.server.registry))
        else:
            self.send_error(404)

    def _answer(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Polled once a second; the log is the training's."""


class ProgressCollector(Collector):
    """The numbers of a Progress as gauges: finetune_step, finetune_loss, finetune_eta_seconds."""

    _HELP: ClassVar[dict[str, str]] = {
        "step": "Optimizer steps done",
        "total_steps": "Optimizer steps of the run",
        "loss": "Training loss of the last step",
        "validation_loss": "Loss of the last validation",
        "tokens_per_second": "Tokens trained a second, over all processes",
        "expert_load": "Tokens of the fullest expert over the mean of its layer, in the most uneven layer",
        "expert_rank_load": "Tokens of the fullest expert-parallel rank over the mean, where that is most",
        "slowest_rank": "The rank that the others waited for most in the last step",
        "reward_accuracy": "Share of the step's preference pairs whose chosen answer has the greater reward",
        "reward_margin": "By which the chosen answers of the step's pairs are ahead",
        "slowdown": "Time of the slowest rank for what it does alone, over that of a rank in the middle",
        "peak_memory_bytes": "Peak memory of rank 0 in the last step",
        "eta_seconds": "Estimated seconds to the end of the stage",
        "bytes_fetched": "Bytes of the base model in the volume",
        "bytes_loaded": "Bytes of the base model that rank 0 has loaded of its part",
        "bytes_total": "Bytes to fetch, or to load",
    }

    def __init__(self, read: Read, labels: Mapping[str, str]) -> None:
        self._read = read
        self._labels = dict(labels)

    def collect(self) -> Iterable[Metric]:
        progress = self._read()
        labels = {**self._labels, "stage": progress.stage}
        for field in fields(progress):
            value = getattr(progress, field.name)
            if field.name in self._HELP and value is not None:
                gauge = GaugeMetricFamily(
                    f"finetune_{field.name}", self._HELP[field.name], labels=list(labels)
                )
                gauge.add_metric(list(labels.values()), value)
                yield gauge
