"""Asks for the events of children that are late, and of nobody else: their newest one says why.

A watch of events would bring every warning of the cluster. What is late is known from the objects alone; it
is asked about at once, and again after as long as it has been late by then, up to ten minutes.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.delay import is_late
from finetune_operator.core.observed.event import newest_cause, observe_event
from finetune_operator.core.observed.object import ObservedObject
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait, explained
from finetune_operator.kube.api_server import ApiServer, message_of

_LOG = logging.getLogger(__name__)
_PERIOD_SECONDS = 5.0
_NOW = datetime.min.replace(tzinfo=UTC)
_SOONEST, _LATEST = timedelta(seconds=10), timedelta(minutes=10)
# An API server reads all events of a namespace to find those of one object. In a storm most are late because
# the cluster is: five questions a second do not make it slower.
_A_ROUND, _AT_ONCE = 25, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class _Delay:
    obj: ObservedObject
    wait: Wait | None
    """None of a claim that nothing is wrong with."""
    ask_again: datetime


class Delays:
    """Why children are late; `on_change` is called with one of which that has changed."""

    def __init__(self, cache: Cache, server: ApiServer, on_change: Callable[[ObservedObject], None]) -> None:
        self._cache = cache
        self._server = server
        self._on_change = on_change
        self._delays: dict[str, _Delay] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._refusal = ""

    def delay_of(self, obj: ObservedObject) -> Wait | None:
        """Return why an object is late; None for one that is not, or is not known to be yet."""
        known = self._delays.get(obj.uid)
        is_same = known is not None and obj.delayed == known.obj.delayed
        return known.wait if known and is_same else None

    async def run(self) -> NoReturn:
        """Look for ever; what goes wrong in a way that nobody thought of is logged, and ends nothing."""
        while True:
            try:
                await self.look(datetime.now(UTC))
            except Exception:
                _LOG.exception("objects that are late could not be looked at; the next round does")
            await asyncio.sleep(_PERIOD_SECONDS)

    async def look(self, now: datetime) -> None:
        """Ask about all that are late and due, and forget those that are late no more."""
        late = {obj.uid: obj for obj in self._cache.delayed() if is_late(obj, now)}
        for uid in self._delays.keys() - late.keys():
            self._on_change(self._delays.pop(uid).obj)
        due = sorted((obj for obj in late.values() if self._due_at(obj) <= now), key=self._due_at)
        await asyncio.gather(*(self._ask(obj, now) for obj in due[:_A_ROUND]))

    def _due_at(self, obj: ObservedObject) -> datetime:
        known = self._delays.get(obj.uid)
        return known.ask_again if known and known.obj.delayed == obj.delayed else _NOW

    async def _ask(self, obj: ObservedObject, now: datetime) -> None:
        async with self._at_once:
            said = await self._newest_event_of(obj)
        wait, before = _explained(obj, said), self._delays.get(obj.uid)
        self._delays[obj.uid] = _Delay(obj=obj, wait=wait, ask_again=now + _pause(obj, now))
        if wait != (before.wait if before else None):
            self._on_change(obj)

    async def _newest_event_of(self, obj: ObservedObject) -> str:
        """Return what was said of an object last; empty where nothing was, or events cannot be read."""
        try:
            events = await self._server.list_events_of(obj.ref, obj.uid)
        except ApiException as refused:
            self._say(message_of(refused))
            return ""
        except (OSError, TimeoutError) as error:
            self._say(repr(error))
            return ""
        cause = newest_cause(map(observe_event, events))
        return cause.sentence if cause else ""

    def _say(self, refusal: str) -> None:
        if refusal != self._refusal:
            _LOG.warning("events of objects that are late cannot be read (%s)", refusal)
            self._refusal = refusal


def _explained(obj: ObservedObject, said: str) -> Wait | None:
    if obj.delayed is None or (obj.delayed.reason is WaitReason.CLAIM and not said):
        return None  # a claim may wait for its pod
    return explained(obj.delayed, said)


def _pause(obj: ObservedObject, now: datetime) -> timedelta:
    since = obj.delayed.since if obj.delayed and obj.delayed.since else now
    return min(max(now - since, _SOONEST), _LATEST)
