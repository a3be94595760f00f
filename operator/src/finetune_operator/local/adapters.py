"""Asks GET /adapters of the servers of this machine, at a bounded rate."""

from datetime import datetime, timedelta

import httpx

from finetune_operator.core.objects import Ref
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.local.clock import Clock
from finetune_operator.local.kubelet import Kubelet
from finetune_operator.serving.server_adapters import InvalidAdaptersError, ServerAdapters, parse_adapters

_PERIOD = timedelta(seconds=1)
_TIMEOUT_SECONDS = 0.5


class AdaptersPoller:
    """The newest answer of every server, asked for once a second."""

    def __init__(self, kubelet: Kubelet, clock: Clock) -> None:
        self._kubelet = kubelet
        self._clock = clock
        self._answers: dict[Ref, ServerAdapters | None] = {}
        self._asked: dict[Ref, datetime] = {}
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False)

    def adapters_of(self, pod: ObservedPod) -> ServerAdapters | None:
        """Return the newest answer of a running pod; None where it does not answer."""
        now, port = self._clock.now(), self._kubelet.port_of(pod.ref, "http")
        if port is None:
            return None
        if now - self._asked.get(pod.ref, datetime.min.replace(tzinfo=now.tzinfo)) >= _PERIOD:
            self._asked[pod.ref] = now
            self._answers[pod.ref] = self._answer_at(f"http://127.0.0.1:{port}/adapters")
        return self._answers.get(pod.ref)

    def _answer_at(self, url: str) -> ServerAdapters | None:
        try:
            return parse_adapters(self._client.get(url).raise_for_status().content)
        except (httpx.HTTPError, InvalidAdaptersError):
            return None
