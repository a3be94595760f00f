"""What a served model answers, and how fast. Tokens are given and taken as numbers."""

import json
import random
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

LENGTH, ANSWER = 512, 128
GREEDY_TOKENS = 32


class Server:
    """An OpenAI-compatible server."""

    def __init__(self, url: str, model: str) -> None:
        self._url, self._model = url, model

    def chat(self, question: str) -> dict[str, Any]:
        """The answer to a question, and its seconds."""
        started = time.perf_counter()
        asked = {"messages": [{"role": "user", "content": question}], "max_tokens": 32, "temperature": 0}
        answer = self._post("/v1/chat/completions", {"model": self._model, **asked})
        return {
            "seconds": round(time.perf_counter() - started, 3),
            "answer": answer["choices"][0]["message"]["content"],
        }

    def greedy(self, model: str, prompts: list[list[int]]) -> list[dict[str, Any]]:
        """For each prompt its most likely continuation: tokens and their log probabilities."""

        def ask(prompt: list[int]) -> dict[str, Any]:
            asked: dict[str, Any] = {
                "max_tokens": GREEDY_TOKENS,
                "temperature": 0,
                "logprobs": 1,
                "return_token_ids": True,
            }
            asked |= {"model": model, "prompt": prompt, "ignore_eos": True}
            (choice,) = self._post("/v1/completions", asked)["choices"]
            return {"tokens": choice["token_ids"], "logprobs": choice["logprobs"]["token_logprobs"]}

        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(ask, prompts))

    def log_probabilities(self, model: str, chats: list[list[int]]) -> list[list[float]]:
        """Of each token of each chat but the first, given those before it."""

        def ask(chat: list[int]) -> list[float]:
            asked = {"model": model, "prompt": chat, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
            (choice,) = self._post("/v1/completions", asked)["choices"]
            given = choice["prompt_logprobs"][1:]
            return [place[str(token)]["logprob"] for token, place in zip(chat[1:], given, strict=True)]

        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(ask, chats))

    def load(self, concurrency: int, requests: int) -> dict[str, Any]:
        """Requests of 512 random tokens that are answered by 128, so many at a time."""
        numbers = random.Random(concurrency)
        prompts = [[numbers.randrange(8, 500) for _ in range(LENGTH)] for _ in range(requests)]
        with ThreadPoolExecutor(concurrency) as threads:
            list(threads.map(self._stream, prompts[:concurrency]))  # shapes that were not seen yet
            started = time.perf_counter()
            timed = list(threads.map(self._stream, [p[::-1] for p in prompts]))
            seconds = time.perf_counter() - started
        return {
            "requests": requests,
            "seconds": round(seconds, 2),
            "outputTokensPerSecond": round(requests * ANSWER / seconds),
            "totalTokensPerSecond": round(requests * (ANSWER + LENGTH) / seconds),
            "medianFirstTokenMilliseconds": round(1000 * median(first for first, _ in timed), 1),
            "medianMillisecondsAToken": round(
                1000 * median((whole - first) / (ANSWER - 1) for first, whole in timed), 2
            ),
        }

    def adapter(self, word: str, body: dict[str, str]) -> dict[str, Any]:
        """Load or unload an adapter: what the server says, and its seconds."""
        started = time.perf_counter()
        try:
            with self._open(f"/v1/{word}_lora_adapter", body) as answer:
                said = answer.read().decode()
        except urllib.error.HTTPError as error:
            said = f"{error.code}: {error.read().decode()}"
        return {"seconds": round(time.perf_counter() - started, 3), "said": said[:600]}

    def metrics(self) -> list[str]:
        """vLLM's own counts of speculation."""
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return [line for line in lines if line.startswith("vllm:spec_decode") and "_created" not in line]

    def _stream(self, prompt: list[int]) -> tuple[float, float]:
        """Seconds to the first token and to the last."""
        asked = {"model": self._model, "prompt": prompt, "max_tokens": ANSWER, "temperature": 0}
        asked |= {"ignore_eos": True, "stream": True}
        started, first = time.perf_counter(), 0.0
        with self._open("/v1/completions", asked) as answer:
            for line in answer:
                if not first and line.startswith(b"data: {"):
                    first = time.perf_counter() - started
        return first, time.perf_counter() - started

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        with self._open(path, body) as answer:
            return json.load(answer)

    def _open(self, path: str, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}{path}", json.dumps(body).encode(), headers)
        return urllib.request.urlopen(request, timeout=120)


def endpoint(status: Path) -> str:
    """The address in a deployment's status; without a YAML parser."""
    lines = (line.strip() for line in status.read_text().splitlines())
    return next(line.removeprefix("endpoint:").strip() for line in lines if line.startswith("endpoint:"))
