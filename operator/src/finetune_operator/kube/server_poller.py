"""Asks servers again and again: what each says now counts, and one that does not answer says nothing."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.parent import ObservedParent
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.kube.pod_client import PodClient
from finetune_operator.serving.startup import HTTP_PORT

_LOG = logging.getLogger(__name__)

Answer = TypeVar("Answer")
_Server = tuple[ObservedDeployment, ObservedPod, int]
"""With the port at which it answers."""


@dataclass(frozen=True, kw_only=True)
class Question(Generic[Answer]):
    """What is asked, of whom, and how often."""

    path: str
    is_for: Callable[[Manifest, ObservedDeployment], bool]
    """Whether servers are asked: by the spec of their ModelDeployment, and their own Deployment."""
    parse: Callable[[bytes], Answer]
    invalid: type[Exception]
    """What `parse` raises for junk."""
    most_bytes: int
    period_seconds: float
    at_once: int


class ServerPoller(Generic[Answer]):
    """The newest answers; `on_change` is called with the Deployment of a pod that says something new."""

    def __init__(
        self, question: Question[Answer], cache: Cache, on_change: Callable[[ObservedDeployment], None]
    ) -> None:
        self._question = question
        self._cache = cache
        self._on_change = on_change
        self._answers: dict[str, Answer] = {}
        self._client = PodClient(question.at_once)

    def answer_of(self, pod: ObservedPod) -> Answer | None:
        """Return what a pod said last; None where it does not answer."""
        return self._answers.get(pod.uid)

    async def run(self) -> NoReturn:
        """Poll for ever."""
        while True:
            await self.poll()
            await asyncio.sleep(self._question.period_seconds)

    async def poll(self) -> None:
        """Ask every server once. What nobody thought of is logged, and ends nothing."""
        servers = list(self._servers())
        there = {pod.uid for _, pod, _ in servers}
        self._answers = {uid: answer for uid, answer in self._answers.items() if uid in there}
        asked = await asyncio.gather(*(self._ask(*each) for each in servers), return_exceptions=True)
        for (_, pod, _), failure in zip(servers, asked, strict=True):
            if isinstance(failure, Exception):
                _LOG.error("GET %s of pod %s: %r", self._question.path, pod.name, failure, exc_info=failure)

    def _servers(self) -> Iterator[_Server]:
        for parent in self._cache.of_kind("ModelDeployment", ObservedParent):
            spec = parent.spec or {}
            for server in self._cache.owned_by(parent, ObservedDeployment):
                pods = (
                    self._cache.owned_by(server, ObservedPod) if self._question.is_for(spec, server) else []
                )
                yield from ((server, pod, spec.get("port", HTTP_PORT)) for pod in pods if pod.runs)

    async def _ask(self, server: ObservedDeployment, pod: ObservedPod, port: int) -> None:
        answer = None
        try:
            answer = await self._answer_at(pod.address, port)
        finally:
            if answer != self._answers.get(pod.uid):
                self._keep(pod, answer)
                self._on_change(server)

    def _keep(self, pod: ObservedPod, answer: Answer | None) -> None:
        if answer is None:
            del self._answers[pod.uid]
        else:
            self._answers[pod.uid] = answer

    async def _answer_at(self, address: str, port: int) -> Answer | None:
        """Return what is said at an address; None where there is no answer, or it is junk."""
        asked = self._question
        body = await self._client.get(address, port, asked.path, most=asked.most_bytes)
        try:
            return None if body is None else asked.parse(body)
        except asked.invalid as invalid:
            _LOG.debug("GET %s of %s: %s", asked.path, address, invalid)
            return None
