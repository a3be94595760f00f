"""The workers that take parents from the queue, and what is counted of them."""

import asyncio
import logging
import time
from typing import NoReturn

from aiohttp import ClientConnectionError
from kubernetes.aio.client.exceptions import ApiException
from prometheus_client import Counter, Histogram

from finetune_operator.core.objects import Ref
from finetune_operator.kube.api_server import message_of
from finetune_operator.kube.controller import Controller
from finetune_operator.kube.work_queue import WorkQueue

_LOG = logging.getLogger(__name__)
# A server that is away is asked often: whoever waits for its return has waited long enough by then.
_AWAY_RETRY_SECONDS = 2.0
_AWAY = OSError | TimeoutError | ClientConnectionError

RECONCILES = Counter("finetune_reconcile_total", "Reconciles", ("kind", "result"))
DURATION = Histogram(
    "finetune_reconcile_duration_seconds", "From the observation to the status that is written", ("kind",)
)


async def reconcile_for_ever(queue: WorkQueue, controller: Controller) -> NoReturn:
    """Reconcile one parent after the other, for ever; one that fails is tried again later."""
    while True:
        ref = await queue.take()
        started = time.perf_counter()
        try:
            again = await controller.reconcile(ref)
        except Exception as error:
            _failed(ref, error)
            if is_away(error):
                queue.retry(ref, _AWAY_RETRY_SECONDS)
            else:
                queue.retry(ref)
        else:
            RECONCILES.labels(ref.kind, "success").inc()
            queue.succeeded(ref)
            if again is not None:
                queue.wake(ref, again)
        finally:
            DURATION.labels(ref.kind).observe(time.perf_counter() - started)
            queue.done(ref)
        # A reconcile that asks nothing of the API server never waits, and thousands in a row would leave the
        # Lease without its renewal and the probes without an answer.
        await asyncio.sleep(0)


def _failed(ref: Ref, error: Exception) -> None:
    RECONCILES.labels(ref.kind, "error").inc()
    name = f"{ref.kind} {ref.namespace}/{ref.name}"
    if isinstance(error, ApiException | _AWAY):
        reason = message_of(error) if isinstance(error, ApiException) else repr(error)
        _LOG.warning("%s: the API did not take a request (%s); it is tried again", name, reason)
    else:
        _LOG.exception("%s: the reconcile failed; it is tried again", name, exc_info=error)


def is_away(error: Exception) -> bool:
    """Return whether the API server could not be reached, or was starting or ending."""
    if isinstance(error, ApiException):
        return not error.status or error.status >= 500
    return isinstance(error, _AWAY)
