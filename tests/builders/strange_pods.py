"""Pods that answer GET /progress as they like: junk, errors, silence, trickles; on a simulated clock."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Self
from unittest.mock import patch

import aiohttp

from finetune_operator.api.status import FineTuneJobStatus, ProgressStatus
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
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


class _Answer:
    def __init__(self, status: int, chunks: list[bytes], pause: float) -> None:
        self.status = status
        self.content = self
        self._chunks = chunks
        self._pause = pause

    async def iter_any(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            await asyncio.sleep(self._pause)
            yield chunk


class StrangePods:
    """A session with them, whatever is asked; `answers` counts."""

    def __init__(self, draw: Random) -> None:
        self._draw = draw
        self.answers = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    @asynccontextmanager
    async def get(self, _: str, **__: Any) -> AsyncIterator[_Answer]:
        """Answer, or do not."""
        self.answers += 1
        await asyncio.sleep(self._draw.choice((0, 0, 0, 0.5, 3, 3600)))
        if self._draw.random() < 0.25:
            raise self._failure()
        status = self._draw.choice((200, 200, 200, 200, 100, 204, 302, 404, 500))
        pause = self._draw.choice((0, 0, 0, 0.1, 60))
        yield _Answer(status, self._chunks(), pause)

    def _failure(self) -> Exception:
        kind = self._draw.choice(_ERRORS)
        return UnicodeDecodeError("utf-8", b"x", 0, 1, "junk") if kind is UnicodeDecodeError else kind("junk")

    def _chunks(self) -> list[bytes]:
        match self._draw.randrange(6):
            case 0:
                return [self._draw.randbytes(self._draw.randrange(64))]
            case 1:
                return [b"x" * 65536] * 1000
            case 2:
                return [b"[" * 60_000]
            case 3:
                return []
            case _:
                fields = self._draw.sample(_FIELDS, self._draw.randrange(len(_FIELDS) + 1))
                said = json.dumps({field: self._draw.choice(_VALUES) for field in fields})
                return [said.encode()]


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


async def poll_for_hours(seed: int, hours: float, pods: int) -> tuple[int, int]:
    """Poll pods that come and go; return how many answers there were, and how many said something new.

    What the poller keeps meanwhile is as much as there are pods, and a status that the API server takes.
    """
    draw = Random(seed)
    cache, strangers, news = Cache(), StrangePods(draw), 0

    def on_change(_: object) -> None:
        nonlocal news
        news += 1

    poller = ProgressPoller(cache, on_change)
    with patch.object(pod_client, "_session", lambda: strangers):
        task = asyncio.create_task(poller.run())
        loop = asyncio.get_running_loop()
        version = 0
        while loop.time() < hours * 3600:
            version += 1
            put_speakers(cache, draw, pods, version)
            await asyncio.sleep(draw.uniform(1, 300))
            assert not task.done()
            assert len(poller._answers) <= pods
            for answer in poller._answers.values():
                samples = [{"prompt": prompt, "text": text} for prompt, text in answer.progress.samples]
                told = {key: value for key, value in vars(answer.progress).items() if key != "tracking"}
                status = ProgressStatus(**told | {"samples": samples}).to_dict()
                status |= FineTuneJobStatus(tracking=dict(answer.progress.tracking) or None).to_dict()
                assert json.dumps(status, allow_nan=False, ensure_ascii=False).encode()
        task.cancel()
    return strangers.answers, news
