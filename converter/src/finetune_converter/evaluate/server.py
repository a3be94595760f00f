"""vLLM's own server, for this process alone: started, asked, and ended."""

import collections
import http.client
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason

logger = logging.getLogger(__name__)

NAME = "model"
_HOST = "127.0.0.1"
_GRACE_SECONDS = 20
_LAST_LINES = 60


class RefusedError(Exception):
    """The server does not take a question, and says why."""


class Server:
    """A server that was started; it may not listen yet."""

    def __init__(self, model: Path, arguments: Sequence[str]) -> None:
        self._model = model
        self._port = _free_port()
        self._lines: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        command = [sys.executable, "-m", "vllm.entrypoints.launchers.api_server.entry"]
        where = ["--host", _HOST, "--port", str(self._port), "--disable-uvicorn-access-log"]
        own = ["--model", str(model), "--served-model-name", NAME, *where]
        self._process = subprocess.Popen(
            [*command, *own, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Return when it listens. Raises Failure when it has ended."""
        while True:
            try:
                self._request("GET", "/health", None)
                return
            except (OSError, http.client.HTTPException, RefusedError):
                if self._process.poll() is not None:
                    raise self._ended() from None
                time.sleep(0.5)

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        """POST a request. Raises RefusedError for one that it does not take, Failure when it has ended."""
        try:
            return self._request("POST", path, {"model": NAME, **body})
        except (OSError, http.client.HTTPException) as error:
            raise self._ended(f"{type(error).__name__}: {error}") from error

    @property
    def model(self) -> Path:
        """The folder of what it serves."""
        return self._model

    @property
    def address(self) -> str:
        """Its API's base URL."""
        return f"http://{_HOST}:{self._port}/v1"

    @property
    def longest(self) -> int:
        """Tokens of question and answer together, at most."""
        (card,) = self._request("GET", "/v1/models", None)["data"]
        return int(card["max_model_len"])

    def stop(self) -> None:
        """End it, and what it has started."""
        self._process.terminate()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_GRACE_SECONDS)

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        # No proxy of the environment is asked: http.client knows none. An answer takes what it takes.
        connection = http.client.HTTPConnection(_HOST, self._port)
        try:
            content = json.dumps(body).encode() if body is not None else None
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        finally:
            connection.close()
        if response.status >= 500:
            raise http.client.HTTPException(f"{response.status} {text[:500]}")
        if response.status != 200:
            raise RefusedError(_message(text))
        return json.loads(text) if text else None

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._lines.append(line.rstrip())
                print(line, end="", file=sys.stderr, flush=True)

    def _ended(self, why: str = "") -> Failure:
        if self._process.poll() is not None:
            self._reader.join(_GRACE_SECONDS)  # its last words
        told = next((line for line in reversed(self._lines) if "Error" in line), "") or why
        code = self._process.poll()
        ended = f"ended with exit code {code}" if code is not None else "does not answer"
        if any("out of memory" in line.lower() for line in self._lines):
            return Failure(
                f"{self._model}: vLLM ran out of memory: {told}",
                Reason.OUT_OF_MEMORY,
                "Set evaluation.gpus to more GPUs, or evaluation.maxModelLen to fewer tokens",
            )
        return Failure(
            f"{self._model}: vLLM {ended}: {told}",
            Reason.SERVER_FAILED,
            "See its log above; its arguments are those of deployment.engineArgs",
        )


@contextmanager
def serve(model: Path, arguments: Sequence[str]) -> Iterator[Server]:
    """A server of `model`, started here and ended at the end."""
    server = Server(model, arguments)
    try:
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _message(text: str) -> str:
    try:
        answer = json.loads(text)
        return str(answer.get("error", {}).get("message") or answer.get("message") or text)[:500]
    except (ValueError, AttributeError):
        return text[:500]
