"""Polls GET /progress of the stages that run, each at a bounded rate."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

import httpx

from finetune_operator.core.conditions import parse_timestamp
from finetune_operator.core.labels import ATTEMPT
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.observed import ObservedProgress
from finetune_operator.finetune.progress import PROGRESS_PORT, parse_progress
from finetune_operator.kube.cache import Cache

_PERIOD_SECONDS = 10
_TIMEOUT_SECONDS = 2
_AT_ONCE = 32
_INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a pod said last, and since when its step is what it is."""

    progress: ObservedProgress
    advanced_at: datetime


class ProgressPoller:
    """The newest answers; `on_change` is called with a Job whose pod says something new."""

    def __init__(self, cache: Cache, on_change: Callable[[Manifest], None]) -> None:
        self._cache = cache
        self._on_change = on_change
        self._answers: dict[str, Answer] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        # Pods are reached directly, never through a proxy.
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False)

    def answer_of(self, job: Manifest) -> Answer | None:
        """Return what the pod that speaks for a Job said last, while it runs."""
        pod = self._speaker(job)
        return self._answers.get(pod["metadata"]["uid"]) if pod else None

    def started_at(self, job: Manifest) -> datetime | None:
        """Return when the pod that speaks for a Job started, while it runs."""
        pod = self._speaker(job)
        return parse_timestamp(pod["status"]["startTime"]) if pod else None

    def progress_of(self, parent: Manifest) -> ObservedProgress | None:
        """Return the newest progress of a FineTuneJob; None before its first answer, and after the last."""
        answers = (self.answer_of(job) for job in self._cache.owned_by(parent, "Job"))
        return next((answer.progress for answer in answers if answer), None)

    async def run(self) -> NoReturn:
        """Poll for ever."""
        while True:
            speakers = list(self._speakers())
            running = {pod["metadata"]["uid"] for _, pod in speakers}
            self._answers = {uid: answer for uid, answer in self._answers.items() if uid in running}
            await asyncio.gather(*(self._ask(job, pod) for job, pod in speakers))
            await asyncio.sleep(_PERIOD_SECONDS)

    def _speakers(self) -> Iterator[tuple[Manifest, Manifest]]:
        for job in self._cache.of_kind("Job"):
            if pod := self._speaker(job):
                yield job, pod

    def _speaker(self, job: Manifest) -> Manifest | None:
        """Return pod 0 of a Job that runs: rank 0 tells the progress of all."""
        if ATTEMPT not in job["metadata"]["labels"] or not job["status"].get("active"):
            return None
        pods = self._cache.owned_by(job, "Pod")
        return next(
            (pod for pod in pods if pod["metadata"]["labels"].get(_INDEX) == "0" and _runs(pod)), None
        )

    async def _ask(self, job: Manifest, pod: Manifest) -> None:
        uid, url = pod["metadata"]["uid"], f"http://{pod['status']['podIP']}:{PROGRESS_PORT}/progress"
        async with self._at_once:
            try:
                answer = await self._client.get(url)
                progress = parse_progress(answer.raise_for_status().json())
            except (httpx.HTTPError, ValueError):
                return  # it does not listen yet, or no longer
        before = self._answers.get(uid)
        if before is None or before.progress != progress:
            advanced = before is None or before.progress.step != progress.step
            moment = datetime.now(UTC) if advanced or before is None else before.advanced_at
            self._answers[uid] = Answer(progress=progress, advanced_at=moment)
            self._on_change(job)


def _runs(pod: Manifest) -> bool:
    return pod["status"]["phase"] == "Running" and bool(pod["status"]["podIP"])
