"""A server that `serve_gpu_processes.py` started: when it is ready, what it answers, how fast."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_gpu_ask import Server
from serve_gpu_memory import gpu_memories, processes_memory

if TYPE_CHECKING:
    from serve_gpu_processes import Place

TELLING = re.compile(
    r"backend|took|takes|Selected|non-default args|GPU KV cache|Available KV|Building|JIT|warm|compil|captur|"
    r"startup complete|version|cache hit|Autotun|GiB|Error|error|WARNING"
)


class Asked:
    """A server, and what it answered."""

    is_ready: Callable[[], bool]
    url: Callable[[], str]
    find_log: Callable[[], Path]
    ready_at: Callable[[], float]
    """When it was ready; where nothing says it, now."""
    place_words: Sequence[str]
    """By which `finetune` finds it."""

    def __init__(self, place: "Place", name: str, model: str, process: "subprocess.Popen[bytes]") -> None:
        self._place, self._name, self._model, self._process = place, name, model, process
        self._started, self._ready_after = time.time(), 0.0
        self.ready_at = time.time
        self._answers: dict[str, Any] = {}

    def wait(self, seconds: float) -> None:
        """Until it is ready. Raises RuntimeError when it ends before, or takes longer."""
        deadline = time.monotonic() + min(seconds, self._place.left())
        while not self.is_ready():
            said = self._place.log(self._name).read_text(errors="replace")
            if self._process.poll() is not None or "Crashing" in said:
                raise RuntimeError(f"{self._name} ended: {said[-600:]}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._name} was not ready after {seconds:.0f} s")
            time.sleep(0.3)
        self._ready_after = self.ready_at() - self._started

    @property
    def has_ended(self) -> bool:
        """Whether its process has."""
        return self._process.poll() is not None

    def figures(self) -> dict[str, Any]:
        lines = self.find_log().read_text(errors="replace").splitlines()
        said = [line[:400] for line in lines if TELLING.search(line) and "/v1/" not in line]
        memory = {"gpuMiB": gpu_memories(), "processes": processes_memory()}
        return {"readySeconds": round(self._ready_after, 1), **memory, "log": said}

    def chat(self) -> None:
        question = json.loads(self._place.tokens.read_text())["question"]
        for word in ("first", "second"):
            self._keep(f"{word} chat", self._server.chat(question))

    def answer(self, model: str, name: str = "") -> None:
        """Greedy tokens, and log probabilities of the chats, by a name of theirs or the model's."""
        tokens = json.loads(self._place.tokens.read_text())
        self._keep(f"greedy {name or model}", self._server.greedy(model, tokens["prompts"]))
        self._keep(f"chats {name or model}", self._server.log_probabilities(model, tokens["chats"]))

    def load(self, concurrency: int) -> dict[str, Any]:
        return self._server.load(concurrency, requests=max(32, 4 * concurrency))

    def bench(self, concurrency: int, tokens: tuple[int, int], requests: int) -> Any:
        """`finetune bench`: tokens in and out of each chat."""
        words = ["--concurrency", concurrency, "--requests", requests, "-o", "json"]
        words += ["--input-tokens", tokens[0], "--output-tokens", tokens[1]]
        said = self._place.ask_finetune("bench", self._model, *self.place_words, *words)
        (figures,) = json.loads(said)
        return figures

    def talk(self, question: str) -> str:
        """`finetune chat`."""
        return self._place.ask_finetune(
            "chat", self._model, *self.place_words, "-q", question, "--max-tokens", 32
        )

    def metrics(self) -> list[str]:
        return self._server.metrics()

    def add_adapter(self, name: str, folder: Path) -> dict[str, Any]:
        return self._server.adapter("load", {"lora_name": name, "lora_path": str(folder)})

    def remove_adapter(self, name: str) -> dict[str, Any]:
        return self._server.adapter("unload", {"lora_name": name})

    def stop(self) -> None:
        self.stop_process(self._process)
        try:
            self._place.bring(self.find_log(), f"{self._name}.server.log")
        except (OSError, ValueError) as error:
            print(f"no log of {self._name}: {error}", flush=True)

    @staticmethod
    def stop_process(process: "subprocess.Popen[bytes]") -> None:
        """End it as Ctrl-C does, and kill what has not ended after 25 s."""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(25)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)

    @property
    def _server(self) -> Server:
        return Server(self.url(), self._model)

    def _keep(self, name: str, value: Any) -> None:
        self._answers[name] = value
        self._place.answers_file(self._name).write_text(json.dumps(self._answers))
        shown = value if "chat" in name.split() else f"{len(value)} of them"
        self._place.keep(f"{self._name}: {name}", shown)
