"""A chat with the endpoint of a deployment, by OpenAI's API, streamed."""

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx

from finetune_operator.core.objects import Manifest
from finetune_operator.local.errors import LocalError

# The endpoint is a port of this machine, or a Service: never through a proxy.
_CLIENT = httpx.Client(timeout=httpx.Timeout(5, read=300), trust_env=False)


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
        """Yield the answer as it comes. Raises LocalError."""
        self._messages.append({"role": "user", "content": question})
        answer = ""
        for piece in self._pieces():
            answer += piece
            yield piece
        self._messages.append({"role": "assistant", "content": answer})

    def _pieces(self) -> Iterator[str]:
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


def _pieces(response: httpx.Response) -> Iterator[str]:
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
            yield choice["delta"].get("content") or ""


def _refusal(response: httpx.Response) -> LocalError:
    text = response.read().decode(errors="replace")
    remedy = (
        "export VLLM_API_KEY" if response.status_code == httpx.codes.UNAUTHORIZED else "see the server's log"
    )
    return LocalError(f"the server answers {response.status_code}: {text[:500]}", remedy)
