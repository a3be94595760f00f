"""Polls GET /progress of the stages that run, each at a bounded rate.

What one pod answers costs nobody else's progress (kube/pod_client.py).
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

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
from finetune_operator.kube.pod_client import PodClient

_LOG = logging.getLogger(__name__)
_PERIOD_SECONDS = 10
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
        self._client = PodClient(_AT_ONCE)

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
        """Return what is said at an address; None where there is no answer, or it is junk."""
        body = await self._client.get(address, port, "/progress", most=MAX_ANSWER_BYTES)
        try:
            return None if body is None else parse_progress(body)
        except InvalidProgressError as invalid:
            _LOG.debug("GET /progress of %s: %s", address, invalid)
            return None


def _position(progress: ObservedProgress) -> tuple[int | None, int | None]:
    return progress.step, progress.bytes_done
