"""A chat with the endpoint of a deployment, by OpenAI's API, streamed."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from finetune_operator.core.objects import Manifest
from finetune_operator.local.errors import LocalError

# The endpoint is a port of this machine, or a Service: never through a proxy.
_CLIENT = httpx.Client(timeout=httpx.Timeout(5, read=300), trust_env=False)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of an answer, as it comes."""

    text: str
    is_thought: bool = False
    """Whether the server's --reasoning-parser took it out of the answer."""


class Conversation:
    """The messages so far, and the endpoint that answers them."""

    def __init__(self, url: str, deployment: Manifest, system: str | None, options: dict[str, Any]) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._model = deployment["spec"].get("servedModelName") or deployment["metadata"]["name"]
        self._options = options
        self._messages = [{"role": "system", "content": system}] if system else []

    def ask(self, question: str) -> str:
        """Return the answer. Raises LocalError."""
        return "".join(self.stream(question))

    def stream(self, question: str) -> Iterator[str]:
        """Yield the answer as it comes, without thoughts. Raises LocalError."""
        return (piece.text for piece in self.pieces(question) if not piece.is_thought)

    def pieces(self, question: str) -> Iterator[Piece]:
        """Yield thoughts and answer as they come. Raises LocalError.

        The next question is asked without this one's thoughts, as the templates of models that think have it.
        """
        self._messages.append({"role": "user", "content": question})
        answer = ""
        for piece in self._pieces():
            answer += "" if piece.is_thought else piece.text
            yield piece
        self._messages.append({"role": "assistant", "content": answer})

    def _pieces(self) -> Iterator[Piece]:
        body = {"model": self._model, "messages": self._messages, "stream": True, **self._options}
        key = os.environ.get("VLLM_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with _CLIENT.stream("POST", self._url, json=body, headers=headers) as response:
                if response.is_error:
                    raise _refusal(response)
                yield from _pieces(response)
        except httpx.TransportError as error:
            raise LocalError(
                f"{self._url} does not answer: {error}",
                "see `finetune status` of that name",
            ) from None


def _pieces(response: httpx.Response) -> Iterator[Piece]:
    """Yield the text of a stream of server-sent events, as OpenAI's API sends them."""
    for line in response.iter_lines():
        data = line.removeprefix("data: ")
        if data == line or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise LocalError(
                f"the server failed: {event['error'].get('message', event['error'])}", "see its log"
            )
        for choice in event["choices"]:
            # vLLM's name; DeepSeek's own API has the other one.
            delta = choice["delta"]
            if thought := delta.get("reasoning") or delta.get("reasoning_content"):
                yield Piece(text=thought, is_thought=True)
            if content := delta.get("content"):
                yield Piece(text=content)


def _refusal(response: httpx.Response) -> LocalError:
    text = response.read().decode(errors="replace")
    remedy = (
        "export VLLM_API_KEY" if response.status_code == httpx.codes.UNAUTHORIZED else "see the server's log"
    )
    return LocalError(f"the server answers {response.status_code}: {text[:500]}", remedy)
