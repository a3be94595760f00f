"""vLLM's own server of a folder, as the server image starts it."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from waiting import HANG_SECONDS, until

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".envs" / "server-cpu" / "bin" / "python"
# On a CPU with AMX vLLM would take its backend for that, which knows no float32.
ATTENTION = "CPU_MLA"


@dataclass(frozen=True, kw_only=True)
class VllmServer:
    url: str

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        response = httpx.post(
            f"{self.url}{path}", json={"model": "model", **body}, timeout=HANG_SECONDS, trust_env=False
        )
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def chat(self, question: str, max_tokens: int = 32) -> str:
        messages = [{"role": "user", "content": question}]
        body = {"messages": messages, "max_tokens": max_tokens, "temperature": 0}
        content: str = self.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]
        return content

    def greedy_tokens(self, prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        """The tokens that follow each prompt, EOS included."""
        body = {"prompt": prompts, "max_tokens": max_tokens, "temperature": 0, "return_token_ids": True}
        choices = self.post("/v1/completions", body)["choices"]
        return [choice["token_ids"] for choice in sorted(choices, key=lambda choice: choice["index"])]


@contextlib.contextmanager
def vllm_server(
    model: Path, log: Path, *arguments: str, attention: str | None = ATTENTION, processes: int = 0
) -> Iterator[VllmServer]:
    """Serve the folder `model` as "model" until the block ends; all that the server writes goes to `log`.

    processes: of the API, by `vllm serve`, as servers on GPUs are started. Otherwise as those on CPUs are.
    """
    port = _free_port()
    environment = os.environ | ENVIRONMENT
    command = [PYTHON, "-m", "vllm.entrypoints.launchers.api_server.entry", "--model", model]
    if processes:
        command = [PYTHON, "-m", "vllm.entrypoints.cli.main", "serve", model]
        command += ["--api-server-count", str(processes)]
        environment["PYTHONPATH"] = str(_named_vllm(log.parent))
    command += ["--served-model-name", "model", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--max-model-len", "512", "--enforce-eager", *arguments]
    command += ["--attention-backend", attention] if attention else []
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = VllmServer(url=f"http://127.0.0.1:{port}")
    try:
        _wait_until_healthy(server, process, log)
        yield server
    finally:
        _stop(process)


ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_WAIT_POLICY": "passive",
}


def _named_vllm(folder: Path) -> Path:
    """A distribution named vllm, whose version its command line asks for: that on CPUs is vllm-cpu."""
    metadata = folder / "vllm-0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0+cpu\n")
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_healthy(server: VllmServer, process: "subprocess.Popen[bytes]", log: Path) -> None:
    def is_healthy() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"vLLM ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        with contextlib.suppress(httpx.TransportError):
            return bool(httpx.get(f"{server.url}/health", trust_env=False).is_success)
        return False

    until("a healthy vLLM", is_healthy)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
