"""The processes of `serve_gpu.py`: `finetune run`, plain `vllm serve`, and what is asked of servers."""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from serve_gpu_ask import endpoint
from serve_gpu_asked import Asked

STARTED = time.monotonic()
CLI = "import sys; from finetune_operator.cli import main; sys.argv[0] = 'finetune'; main()"
VLLM = "from vllm.entrypoints.cli.main import main; main()"
# A machine without a CUDA compiler, as images/server.
NO_COMPILER = {"CUDA_HOME": "/nonexistent"}
NEEDS_COMPILER = ("VLLM_USE_DEEP_GEMM", "VLLM_USE_FLASHINFER_SAMPLER", "VLLM_ALLREDUCE_USE_FLASHINFER")
PLAIN_PORT = 8123  # and those after it


class Place:
    """The scratch folder, what was measured so far, and how to start a process."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.scratch: Path = arguments.scratch
        self.tokens = self.scratch / "tokens.json"
        self.disk: Path = arguments.disk
        self.memory = self.scratch / "formats"
        self._out, self._envs, self._seconds = arguments.out, arguments.envs, arguments.seconds
        self._result: dict[str, Any] = {}
        self._lock = Lock()
        self._ports = itertools.count(PLAIN_PORT)
        for folder in (self._out, self.scratch / "answers", self.scratch / "cache"):
            folder.mkdir(parents=True, exist_ok=True)

    def storage(self, name: str) -> Path:
        """A storage folder: an engine has one to itself."""
        folder = self.scratch / f"storage-{name}"
        folder.mkdir(exist_ok=True)
        return folder

    def program(self, environment: str, name: str) -> Path:
        """A program of an environment, as the engine finds it."""
        return Path(self._envs / environment / "bin" / name)

    def log(self, name: str) -> Path:
        return self.scratch / f"{name}.log"

    def answers_file(self, server: str) -> Path:
        return self.scratch / "answers" / f"{server}.json"

    def answers(self, server: str) -> Any:
        file = self.answers_file(server)
        return json.loads(file.read_text()) if file.exists() else {}

    def answered(self, answers: Sequence[tuple[str, str, str]]) -> list[str]:
        """FILE=MODEL=VARIANT of each server's model that has answered."""
        there = [each for each in answers if f"chats {each[1]}" in self.answers(each[0])]
        return [f"{self.answers_file(server)}={model}={variant}" for server, model, variant in there]

    def left(self) -> float:
        """Seconds."""
        return float(self._seconds - (time.monotonic() - STARTED))

    def keep(self, name: str, value: object) -> None:
        """Write what a step came to."""
        at = round(time.monotonic() - STARTED, 1)
        with self._lock:
            self._result[name] = {"at": at, "value": value}
            (self._out / "serve-gpu.json").write_text(json.dumps(self._result, indent=1, default=str))
        print(f"{at} s {name}: {json.dumps(value, default=str)[:1200]}", flush=True)

    def attempt(self, name: str, step: Callable[[], None]) -> None:
        """A step whose end is kept, however it ends."""
        started = time.monotonic()
        try:
            step()
        except Exception as error:
            self.keep(f"{name} FAILED", f"{type(error).__name__}: {error}"[:1500])
        self.keep(f"{name} ended", {"seconds": round(time.monotonic() - started, 1)})

    def start(self, name: str, command: Sequence[object], **env: str) -> "subprocess.Popen[bytes]":
        """A command in a group of its own, its output in a file."""
        return subprocess.Popen(
            [str(word) for word in command],
            stdout=self.log(name).open("wb"),
            stderr=subprocess.STDOUT,
            env={**os.environ, "FINETUNE_ENVS": str(self._envs), **env},
            start_new_session=True,
        )

    def compared(self, name: str, command: Sequence[object], out: Path, seconds: float) -> None:
        """Run what writes a comparison into a file, and keep that; of one that fails or is late its words."""
        process = self.start(name, [*command, "--out", out])
        try:
            process.wait(min(seconds, self.left()))
        except subprocess.TimeoutExpired:
            process.kill()
        said = self.log(name).read_text()[-1500:]
        self.keep(name, json.loads(out.read_text()) if out.exists() else {"failed": said})

    def prewarm(self) -> None:
        """Python's files of the server into memory."""
        modules = "vllm.entrypoints.cli.serve, vllm.v1.worker.gpu_worker, vllm.lora.layers"
        self.start("prewarm", [sys.executable, "-c", f"import {modules}"])

    def finetune(
        self, name: str, *files: Path, storage: str, ready: Path | None = None, cards: str = ""
    ) -> "subprocess.Popen[bytes]":
        """`finetune run`; a file appears once everything is ready. cards: as CUDA_VISIBLE_DEVICES."""
        words = [word for file in files for word in ("-f", file)]
        then = ["--", "sh", "-c", f"touch {ready}; exec sleep 100000"] if ready else []
        place = ["--storage", self.storage(storage)]
        return self.start(name, [sys.executable, "-c", CLI, "run", *words, *place, *then], **_seen(cards))

    def ask_finetune(self, *words: object) -> str:
        """What another command of `finetune` prints. Raises RuntimeError when it fails."""
        command = [sys.executable, "-c", CLI, *(str(word) for word in words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"finetune {words[0]}: {done.stderr[-800:]}")
        return done.stdout

    @contextmanager
    def served(
        self, name: str, *files: Path, storage: str, deployment: str, cards: str = ""
    ) -> Iterator[Asked]:
        """A server by `finetune run`."""
        ready = self.scratch / f"{name}.ready"
        process = self.finetune(name, *files, storage=storage, ready=ready, cards=cards)
        server = self.deployed(name, process, storage, deployment)
        server.is_ready = ready.exists
        server.ready_at = lambda: ready.stat().st_mtime
        try:
            yield server
        finally:
            server.stop()

    def deployed(self, name: str, process: "subprocess.Popen[bytes]", storage: str, deployment: str) -> Asked:
        """A server of a `finetune run` that has several; ready as its status says."""
        status = self.storage(storage) / f"status/default/modeldeployment/{deployment}.yaml"
        logs = self.storage(storage) / "logs/default"
        server = Asked(self, name, deployment, process)
        server.place_words = ["--storage", str(self.storage(storage))]
        server.is_ready = lambda: status.exists() and "phase: Available" in status.read_text()
        server.url = lambda: endpoint(status)
        server.find_log = lambda: max(
            (f for f in logs.glob(f"{deployment}-*.log") if "probe" not in f.name),
            key=lambda f: f.stat().st_mtime,
        )
        return server

    @contextmanager
    def plain(self, name: str, model: Path, arguments: Sequence[str], cards: str = "") -> Iterator[Asked]:
        """`vllm serve`, with what the same image needs to start."""
        cache = self.scratch / "cache"
        env = {"HOME": str(cache), "CUTE_DSL_CACHE_DIR": f"{cache}/.cache/cute_dsl", **NO_COMPILER}
        env |= dict.fromkeys(NEEDS_COMPILER, "0") | {"HF_HUB_OFFLINE": "1"} | _seen(cards)
        words = [self.program("server-cpu", "python"), "-c", VLLM]
        words += ["serve", model, "--served-model-name", name, *arguments]
        with self.listening(name, words, "Application startup complete", **env) as server:
            yield server

    @contextmanager
    def listening(self, name: str, command: Sequence[object], says: str, **env: str) -> Iterator[Asked]:
        """A server by its own command, which is told its port, and says when it is ready."""
        port = next(self._ports)
        server = Asked(self, name, name, self.start(name, [*command, "--port", port], **env))
        server.url = lambda: f"http://127.0.0.1:{port}"
        server.place_words = ["--url", server.url()]
        server.is_ready = lambda: says.encode() in self.log(name).read_bytes()
        server.find_log = lambda: self.log(name)
        try:
            yield server
        finally:
            server.stop()

    def bring(self, file: Path, name: str) -> None:
        shutil.copy(file, self._out / name)


def _seen(cards: str) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": cards} if cards else {}
