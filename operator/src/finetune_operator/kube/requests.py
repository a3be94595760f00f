"""Polls GET /metrics of the servers of canaries, whose requests decide how far they go.

A server that does not answer has told nothing: its canary goes no further then.
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
from finetune_operator.serving.children.names import CANARY
from finetune_operator.serving.server_requests import (
    MAX_ANSWER_BYTES,
    InvalidMetricsError,
    ServerRequests,
    parse_metrics,
)
from finetune_operator.serving.startup import HTTP_PORT

_LOG = logging.getLogger(__name__)
_PERIOD_SECONDS = 10
_AT_ONCE = 16

_Server = tuple[ObservedDeployment, ObservedPod, int]
"""With the port at which it answers."""


class RequestsPoller:
    """The newest counts; `on_change` is called with the Deployment of a canary whose servers count others."""

    def __init__(self, cache: Cache, on_change: Callable[[ObservedDeployment], None]) -> None:
        self._cache = cache
        self._on_change = on_change
        self._counts: dict[str, ServerRequests] = {}
        self._client = PodClient(_AT_ONCE)

    def requests_of(self, pod: ObservedPod) -> ServerRequests | None:
        """Return what a pod counted last; None where it does not answer."""
        return self._counts.get(pod.uid)

    async def run(self) -> NoReturn:
        """Poll for ever."""
        while True:
            await self.poll()
            await asyncio.sleep(_PERIOD_SECONDS)

    async def poll(self) -> None:
        """Ask every server of a canary once."""
        servers = list(self._servers())
        found = await asyncio.gather(*(self._ask(*each) for each in servers), return_exceptions=True)
        for (_, pod, _), failure in zip(servers, found, strict=True):
            if isinstance(failure, Exception):
                _LOG.error("GET /metrics of pod %s: %r", pod.name, failure, exc_info=failure)
        before, told = self._counts, zip(servers, found, strict=True)
        self._counts = {pod.uid: each for (_, pod, _), each in told if isinstance(each, ServerRequests)}
        for server, pod, _ in servers:
            if before.get(pod.uid) != self._counts.get(pod.uid):
                self._on_change(server)

    def _servers(self) -> Iterator[_Server]:
        for parent in self._cache.of_kind("ModelDeployment", ObservedParent):
            spec = parent.spec or {}
            if not spec.get("rollout", {}).get("canary"):
                continue
            for server in self._cache.owned_by(parent, ObservedDeployment):
                pods = self._cache.owned_by(server, ObservedPod) if server.component == CANARY else []
                yield from ((server, pod, spec.get("port", HTTP_PORT)) for pod in pods if pod.runs)

    async def _ask(self, _: ObservedDeployment, pod: ObservedPod, port: int) -> ServerRequests | None:
        """Return what a server counts; None where there is no answer, or it is junk."""
        body = await self._client.get(pod.address, port, "/metrics", most=MAX_ANSWER_BYTES)
        try:
            return None if body is None else parse_metrics(body)
        except InvalidMetricsError as invalid:
            _LOG.debug("GET /metrics of %s: %s", pod.name, invalid)
            return None
