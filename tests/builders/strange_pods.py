"""Pods that answer GET /progress as they like: junk, errors, silence, trickles; on a simulated clock."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Self
from unittest.mock import patch

import aiohttp
from hypothesis import strategies as st

from finetune_operator.api.status import FineTuneJobStatus, ProgressStatus
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.finetune import ObservedProgress
from finetune_operator.kube import pod_client
from finetune_operator.kube.progress import ProgressPoller

_ERRORS = (
    aiohttp.ClientConnectionError,
    aiohttp.ClientOSError,
    aiohttp.ClientPayloadError,
    aiohttp.InvalidURL,
    aiohttp.ServerDisconnectedError,
    aiohttp.ServerTimeoutError,
    UnicodeDecodeError,
    ConnectionResetError,
    RecursionError,
    ValueError,
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3,
    2**70,
    1.5,
    1e308,
    float("nan"),
    "",
    "train",
    "\ud800",
    [],
    [[]],
    {},
    [{"prompt": "How?", "text": "So."}, {"prompt": 3}, {"text": ""}],
    {"mlflow": "https://mlflow.example/#/runs/1", "": "x", "wandb": ["y"], "trackio": "z" * 5000},
)
_FIELDS = (
    "stage",
    "step",
    "totalSteps",
    "loss",
    "validationLoss",
    "rewardAccuracy",
    "rewardMargin",
    "tokensPerSecond",
    "expertLoad",
    "slowestRank",
    "slowdown",
    "etaSeconds",
    "lastCheckpoint",
    "samples",
    "samplesStep",
    "tracking",
    "bytesFetched",
    "bytesTotal",
)
_ADDRESSES = ("10.0.0.1", "fd00::1", "fe80::1%eth0", "x", "127.0.0.1@evil/", "999.1.1.1")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a pod does when it is asked: it fails, or says something after a while, a chunk at a time."""

    after: float
    failure: type[Exception] | None
    status: int
    chunks: list[bytes]
    pause: float

    @property
    def content(self) -> Self:
        """As a response of aiohttp's."""
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield what comes, as it comes."""
        for chunk in self.chunks:
            await asyncio.sleep(self.pause)
            yield chunk

    def failed(self) -> Exception:
        """Return what the connection raises."""
        assert self.failure
        if self.failure is UnicodeDecodeError:
            return UnicodeDecodeError("utf-8", b"x", 0, 1, "junk")
        return self.failure("junk")


# What JSON can be, with what it cannot: hypothesis nests and shrinks it.
_JSON = st.recursive(
    st.sampled_from(_VALUES) | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
_TOLD = st.dictionaries(st.sampled_from(_FIELDS), st.sampled_from(_VALUES), max_size=len(_FIELDS))
_CHUNKS = st.one_of(
    _TOLD.map(lambda told: [json.dumps(told).encode()]),
    _TOLD.map(lambda told: [json.dumps(told).encode()]),
    st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=3).map(
        lambda told: [json.dumps(told).encode()]
    ),
    _JSON.map(lambda told: [json.dumps(told).encode()]),
    st.lists(st.binary(max_size=64), max_size=3),
    st.sampled_from([[b"x" * 65536] * 1000, [b"[" * 60_000]]),
)
ANSWERS = st.builds(
    Answer,
    after=st.sampled_from((0, 0, 0, 0.5, 3, 3600)),
    failure=st.sampled_from((None,) * (3 * len(_ERRORS)) + _ERRORS),
    status=st.sampled_from((200, 200, 200, 200, 100, 204, 302, 404, 500)),
    chunks=_CHUNKS,
    pause=st.sampled_from((0, 0, 0, 0.1, 60)),
)


class StrangePods:
    """A session with them, whatever is asked; they answer one after the other, and `answers` counts."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._said = iter(answers)
        self._all = len(answers)
        self.answers = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    @property
    def have_said_all(self) -> bool:
        """Whether nothing is left to say."""
        return self.answers >= self._all

    @asynccontextmanager
    async def get(self, _: str, **__: Any) -> AsyncIterator[Answer]:
        """Answer, or do not."""
        answer = next(self._said, None)
        if answer is None:
            raise aiohttp.ClientConnectionError
        self.answers += 1
        await asyncio.sleep(answer.after)
        if answer.failure:
            raise answer.failed()
        yield answer


def put_speakers(cache: Cache, draw: Random, number: int, version: int) -> None:
    """Let so many Jobs run or not, each with a pod that may be asked; those of before are replaced."""
    for index in range(number):
        active = draw.random() < 0.9
        address = draw.choice(_ADDRESSES) if draw.random() < 0.2 else f"10.0.{index // 250}.{index % 250}"
        for manifest in _job_and_pod(index, version, active, address, draw.randrange(3)):
            cache.put(observe(manifest))


def _job_and_pod(index: int, version: int, active: bool, address: str, pod: int) -> tuple[Manifest, Manifest]:
    labels = {
        "finetune.dev/attempt": "0",
        "finetune.dev/run": "r",
        "app.kubernetes.io/instance": f"faq-{index}",
        "app.kubernetes.io/component": "train",
        "batch.kubernetes.io/job-completion-index": "0",
    }
    common = {"namespace": "ml", "labels": labels, "resourceVersion": str(version)}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": f"faq-{index}", "uid": f"job-{index}"}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**common, "name": f"faq-{index}", "uid": f"job-{index}"},
        "status": {"active": int(active)},
    }
    return job, {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **common,
            "name": f"faq-{index}-0",
            "uid": f"pod-{index}-{pod}",
            "ownerReferences": [owner],
        },
        "status": {"phase": "Running", "podIP": address},
    }


async def poll(answers: Sequence[Answer], draw: Random, pods: int) -> float:
    """Poll pods that come and go until they have said it all; return how many seconds that took them.

    What the poller keeps meanwhile is as much as there are pods, and a status that the API server takes.
    """
    cache, strangers = Cache(), StrangePods(answers)
    poller = ProgressPoller(cache, lambda _: None)
    loop = asyncio.get_running_loop()
    with patch.object(pod_client, "_session", lambda: strangers):
        task = asyncio.create_task(poller.run())
        version = 0
        while not strangers.have_said_all:
            version += 1
            put_speakers(cache, draw, pods, version)
            await asyncio.sleep(draw.uniform(1, 300))
            assert not task.done()
            assert len(poller._answers) <= pods
            for answer in poller._answers.values():
                check_status(answer.progress)
        task.cancel()
    return loop.time()


def check_status(progress: ObservedProgress) -> None:
    """Fail unless the API server takes it."""
    samples = [{"prompt": prompt, "text": text} for prompt, text in progress.samples]
    told = {key: value for key, value in vars(progress).items() if key != "tracking"}
    status = ProgressStatus(**told | {"samples": samples}).to_dict()
    status |= FineTuneJobStatus(tracking=dict(progress.tracking) or None).to_dict()
    assert json.dumps(status, allow_nan=False, ensure_ascii=False).encode()
