"""The probes' program, run as the kubelet runs it, beside servers that are well, busy, stuck or dead."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from finetune_operator.serving.startup import PROBE, PROBE_PROGRAM, probes


@dataclass(frozen=True, kw_only=True)
class State:
    """What a server of vLLM's API does."""

    health: int = 200
    status: int = 200
    answers: bool = True
    works: bool = True
    """Whether its counters of tokens rise."""
    counts: bool = True
    """Whether it has counters: --disable-log-stats takes them away."""


def handler(state: State) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        tokens = 0

        def do_GET(self) -> None:
            if self.path == "/health":
                self._answer(state.health, b"")
            elif state.counts:
                type(self).tokens += 5 if state.works else 0
                lines = (
                    "# TYPE vllm:prompt_tokens_total counter",
                    f'vllm:prompt_tokens_total{{engine="0",model_name="m"}} {float(self.tokens)}',
                    'vllm:generation_tokens_total{engine="0",model_name="m"} 1.5e+06',
                )
                self._answer(200, "\n".join(lines).encode())
            else:
                self._answer(404, b"")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if not state.answers:
                time.sleep(3)
            self._answer(state.status, b'{"choices": [{"text": "!"}]}')

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serving(state: State) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def succeeds(probe: str, port: int) -> bool:
    _, *command = probes(600)[probe]["exec"]["command"]
    command[2] = "1"  # second
    # A proxy of the container's, which nothing may be sent to.
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    env = {**os.environ, **proxy, "SERVING_PORT": str(port), "SERVED_MODEL_NAME": "m", PROBE: PROBE_PROGRAM}
    env.pop("no_proxy", None)
    env.pop("NO_PROXY", None)
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=30)
    assert "Traceback" not in done.stderr
    return done.returncode == 0


@pytest.mark.parametrize(
    ("state", "started", "alive"),
    [
        pytest.param(State(), True, True, id="well"),
        pytest.param(State(health=503), True, False, id="dead, and said so"),
        pytest.param(State(status=500, works=False), False, False, id="dead, and healthy"),
        pytest.param(State(answers=False, works=False), False, False, id="stuck, and healthy"),
        pytest.param(State(answers=False), False, True, id="busy"),
        pytest.param(State(status=503), False, True, id="busy, its queue full"),
        pytest.param(State(counts=False), True, True, id="well, without counters"),
        pytest.param(State(answers=False, counts=False), False, True, id="late, without counters"),
    ],
)
def test_probes(state: State, started: bool, alive: bool) -> None:
    with serving(state) as port:
        assert succeeds("startupProbe", port) == started
        assert succeeds("readinessProbe", port) == alive
        assert succeeds("livenessProbe", port) == alive


def test_nobody_listens() -> None:
    assert not succeeds("readinessProbe", 9)
