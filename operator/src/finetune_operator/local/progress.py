"""Polls GET /progress of the pods that run, at a bounded rate."""

from datetime import datetime, timedelta

import httpx

from finetune_operator.core.objects import Ref
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.finetune.observed import ObservedProgress
from finetune_operator.finetune.progress import MAX_ANSWER_BYTES, InvalidProgressError, parse_progress
from finetune_operator.local.clock import Clock
from finetune_operator.local.kubelet import Kubelet

_PERIOD = timedelta(seconds=1)
_TIMEOUT_SECONDS = 0.5


class ProgressPoller:
    """Remembers the newest answer of every pod, and asks again once a second."""

    def __init__(self, kubelet: Kubelet, clock: Clock) -> None:
        self._kubelet = kubelet
        self._clock = clock
        self._answers: dict[Ref, ObservedProgress] = {}
        self._asked: dict[Ref, datetime] = {}
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False)

    def progress_of(self, pod: ObservedPod) -> ObservedProgress | None:
        """Return the newest progress of a running pod; None before its first answer."""
        now = self._clock.now()
        port = self._kubelet.port_of(pod.ref, "progress")
        if port is None:
            return None
        if now - self._asked.get(pod.ref, datetime.min.replace(tzinfo=now.tzinfo)) >= _PERIOD:
            self._asked[pod.ref] = now
            self._ask(pod.ref, port)
        return self._answers.get(pod.ref)

    def _ask(self, pod: Ref, port: int) -> None:
        try:
            self._answers[pod] = parse_progress(self._body(f"http://127.0.0.1:{port}/progress"))
        except (httpx.HTTPError, InvalidProgressError):
            return  # it does not listen yet, or no longer

    def _body(self, url: str) -> bytes:
        body = bytearray()
        with self._client.stream("GET", url) as answer:
            for chunk in answer.raise_for_status().iter_raw():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    break  # parse_progress says so
        return bytes(body)
