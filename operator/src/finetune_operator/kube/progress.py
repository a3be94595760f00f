"""Polls GET /progress of the stages that run, each at a bounded rate.

A pod runs what its user wants: whatever it answers, or never ends to answer, costs bounded time and memory,
and nobody else's progress.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import NoReturn

import httpx

from finetune_operator.core.labels import PROGRESS_PORT_LABEL
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.job import ObservedJob
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.finetune.observed import ObservedProgress, with_pods
from finetune_operator.finetune.progress import (
    MAX_ANSWER_BYTES,
    PROGRESS_PORT,
    InvalidProgressError,
    parse_progress,
)

_LOG = logging.getLogger(__name__)
_PERIOD_SECONDS = 10
# From the first packet to the last byte: a client's own timeouts begin anew with every byte that trickles in.
_TIMEOUT_SECONDS = 2
# Pods that never answer hold up the others by _TIMEOUT_SECONDS for so many of them.
_AT_ONCE = 128


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a pod said last, and since when its step is what it is."""

    progress: ObservedProgress
    advanced_at: datetime


class ProgressPoller:
    """The newest answers; `on_change` is called with a Job whose pod says something new."""

    def __init__(
        self, cache: Cache, on_change: Callable[[ObservedJob], None], port: int = PROGRESS_PORT
    ) -> None:
        self._cache = cache
        self._on_change = on_change
        self._port = port
        self._answers: dict[str, Answer] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        # Pods are reached directly, never through a proxy.
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=0),
            headers={"Accept-Encoding": "identity"},
            trust_env=False,
        )

    def answer_of(self, job: ObservedJob) -> Answer | None:
        """Return what the pod that speaks for a Job said last, while it runs."""
        pod = self._speaker(job)
        return self._answers.get(pod.uid) if pod else None

    def started_at(self, job: ObservedJob) -> datetime | None:
        """Return when the pod that speaks for a Job started, while it runs."""
        pod = self._speaker(job)
        return pod.started_at if pod else None

    def progress_of(self, pod: ObservedPod) -> ObservedProgress | None:
        """Return what a pod said last; None before its first answer."""
        answer = self._answers.get(pod.uid)
        return answer.progress if answer else None

    async def run(self) -> NoReturn:
        """Poll for ever."""
        while True:
            await self.poll()
            await asyncio.sleep(_PERIOD_SECONDS)

    async def poll(self) -> None:
        """Ask every pod once. What goes wrong in a way that nobody thought of is logged, and ends nothing."""
        speakers = list(self._speakers())
        running = {pod.uid for _, pod in speakers}
        self._answers = {uid: answer for uid, answer in self._answers.items() if uid in running}
        asked = await asyncio.gather(*(self._ask(job, pod) for job, pod in speakers), return_exceptions=True)
        for (_, pod), failure in zip(speakers, asked, strict=True):
            if isinstance(failure, Exception):
                name = f"{pod.ref.namespace}/{pod.name}"
                _LOG.error("GET /progress of pod %s: %r", name, failure, exc_info=failure)

    def _speakers(self) -> Iterator[tuple[ObservedJob, ObservedPod]]:
        for job in self._cache.of_kind("Job", ObservedJob):
            if pod := self._speaker(job):
                yield job, pod

    def _speaker(self, job: ObservedJob) -> ObservedPod | None:
        """Return pod 0 of a Job that runs: rank 0 tells the progress of all."""
        return with_pods(job, self._cache).speaker if job.run and job.active_pods else None

    async def _ask(self, job: ObservedJob, pod: ObservedPod) -> None:
        uid = pod.uid
        async with self._at_once:
            progress = await self._progress_at(pod.address, self._port_of(job))
        if progress is None:
            return
        before = self._answers.get(uid)
        if before is None or before.progress != progress:
            advanced = before is None or _position(before.progress) != _position(progress)
            moment = datetime.now(UTC) if advanced or before is None else before.advanced_at
            self._answers[uid] = Answer(progress=progress, advanced_at=moment)
            self._on_change(job)

    def _port_of(self, job: ObservedJob) -> int:
        """Return where its pods tell; a label that somebody else has written may be anything."""
        told = job.labels.get(PROGRESS_PORT_LABEL, "")
        return int(told) if told.isdecimal() and 0 < int(told) < 2**16 else self._port

    async def _progress_at(self, address: str, port: int) -> ObservedProgress | None:
        """Return what is said at an address; None where nobody listens, yet or any more, or it is junk."""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return parse_progress(await self._body_at(url_at(address, port, "/progress")))
        except (httpx.HTTPError, TimeoutError):
            return None
        except InvalidProgressError as invalid:
            _LOG.debug("GET /progress of %s: %s", address, invalid)
            return None

    async def _body_at(self, url: str) -> bytes:
        return await body_at(self._client, url, MAX_ANSWER_BYTES)


async def body_at(client: httpx.AsyncClient, url: str, most: int) -> bytes:
    """Return an answer's body as it was sent: what is packed may hold a thousand times as much.

    One of more than `most` bytes is cut after that: whoever reads it says so.
    """
    body = bytearray()
    async with client.stream("GET", url) as answer:
        answer.raise_for_status()
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > most:
                break
    return bytes(body)


def _position(progress: ObservedProgress) -> tuple[int | None, int | None]:
    return progress.step, progress.bytes_done


def url_at(address: str, port: int, path: str) -> str:
    """Return the URL at a pod's address; one of IPv6 stands in brackets (RFC 3986, 3.2.2)."""
    try:
        ip = ip_address(address)
    except ValueError:
        raise InvalidProgressError(f"no IP address: {address!r}") from None
    host = f"[{ip}]" if ip.version == 6 else str(ip)
    return f"http://{host}:{port}{path}"
