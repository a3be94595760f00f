"""Polls GET /adapters of the servers that take adapters: what each has is what it tells, and nothing else.

A server that does not answer has none.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import NoReturn

from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.parent import ObservedParent
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.kube.pod_client import PodClient
from finetune_operator.serving.server_adapters import (
    MAX_ANSWER_BYTES,
    InvalidAdaptersError,
    ServerAdapters,
    parse_adapters,
)
from finetune_operator.serving.startup import HTTP_PORT

_LOG = logging.getLogger(__name__)
_PERIOD_SECONDS = 5
_AT_ONCE = 64

_Server = tuple[ObservedDeployment, ObservedPod, int]
"""With the port at which it answers."""


class AdaptersPoller:
    """The newest answers; `on_change` is called with the Deployment of a pod that says something new."""

    def __init__(self, cache: Cache, on_change: Callable[[ObservedDeployment], None]) -> None:
        self._cache = cache
        self._on_change = on_change
        self._answers: dict[str, ServerAdapters] = {}
        self._client = PodClient(_AT_ONCE)

    def adapters_of(self, pod: ObservedPod) -> ServerAdapters | None:
        """Return what a pod said last; None where it does not answer."""
        return self._answers.get(pod.uid)

    async def run(self) -> NoReturn:
        """Poll for ever."""
        while True:
            await self.poll()
            await asyncio.sleep(_PERIOD_SECONDS)

    async def poll(self) -> None:
        """Ask every server once."""
        servers = list(self._servers())
        there = {pod.uid for _, pod, _ in servers}
        self._answers = {uid: answer for uid, answer in self._answers.items() if uid in there}
        asked = await asyncio.gather(*(self._ask(*each) for each in servers), return_exceptions=True)
        for (_, pod, _), failure in zip(servers, asked, strict=True):
            if isinstance(failure, Exception):
                _LOG.error("GET /adapters of pod %s: %r", pod.name, failure, exc_info=failure)

    def _servers(self) -> Iterator[_Server]:
        for parent in self._cache.of_kind("ModelDeployment", ObservedParent):
            spec = parent.spec or {}
            if not spec.get("adapters"):
                continue
            for server in self._cache.owned_by(parent, ObservedDeployment):
                pods = self._cache.owned_by(server, ObservedPod)
                yield from ((server, pod, spec.get("port", HTTP_PORT)) for pod in pods if pod.runs)

    async def _ask(self, server: ObservedDeployment, pod: ObservedPod, port: int) -> None:
        answer = await self._answer_at(pod.address, port)
        if answer == self._answers.get(pod.uid):
            return
        if answer is None:
            del self._answers[pod.uid]
        else:
            self._answers[pod.uid] = answer
        self._on_change(server)

    async def _answer_at(self, address: str, port: int) -> ServerAdapters | None:
        """Return what is said at an address; None where there is no answer, or it is junk."""
        body = await self._client.get(address, port, "/adapters", most=MAX_ANSWER_BYTES)
        try:
            return None if body is None else parse_adapters(body)
        except InvalidAdaptersError as invalid:
            _LOG.debug("GET /adapters of %s: %s", address, invalid)
            return None
