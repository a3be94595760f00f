"""How long a parent waits after a failure, and what else gets its turn while many are worked on."""

import asyncio
from itertools import pairwise
from typing import cast

import pytest
from aiohttp import ClientConnectionError, ServerDisconnectedError
from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.core.objects import Ref
from finetune_operator.kube.controller import Controller
from finetune_operator.kube.work_queue import WorkQueue
from finetune_operator.kube.workers import is_away, reconcile_for_ever


@pytest.mark.parametrize(
    ("error", "away"),
    [
        pytest.param(ConnectionRefusedError(), True, id="refused"),
        pytest.param(ServerDisconnectedError(), True, id="disconnected"),
        pytest.param(ClientConnectionError(), True, id="connection"),
        pytest.param(TimeoutError(), True, id="timeout"),
        pytest.param(ApiException(status=503), True, id="starting"),
        pytest.param(ApiException(status=0), True, id="tls"),
        pytest.param(ApiException(status=409), False, id="conflict"),
        pytest.param(ApiException(status=422), False, id="invalid"),
        pytest.param(KeyError("x"), False, id="defect"),
    ],
)
def test_only_a_server_that_cannot_be_reached_is_away(error: Exception, away: bool) -> None:
    assert is_away(error) is away


class NeverWaits:
    """Finds everything as it should be: there is nothing to ask the API server for."""

    def __init__(self) -> None:
        self.reconciled = 0

    async def reconcile(self, ref: Ref) -> float | None:
        self.reconciled += ref.kind == "Job"
        return None


async def _others_turns(jobs: int, workers: int) -> list[int]:
    """Return how many were reconciled at each turn of another task, such as the Lease's."""
    queue, controller = WorkQueue(), NeverWaits()
    for number in range(jobs):
        queue.wake(Ref(api_version="v1", kind="Job", namespace="ml", name=f"job-{number}"), 0)
    tasks = [
        asyncio.create_task(reconcile_for_ever(queue, cast(Controller, controller))) for _ in range(workers)
    ]
    turns = [0]
    while controller.reconciled < jobs:
        await asyncio.sleep(0)
        turns.append(controller.reconciled)
    for task in tasks:
        task.cancel()
    return turns


@pytest.mark.parametrize("workers", [1, 4])
def test_a_worker_does_one_after_the_other_and_lets_others_in_between(workers: int) -> None:
    turns = asyncio.run(_others_turns(200, workers))
    assert max(after - before for before, after in pairwise(turns)) <= workers
