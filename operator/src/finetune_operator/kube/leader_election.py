"""Which of several replicas acts: the holder of a Lease, with client-go's semantics.

Times are this process's own monotonic ones, and nobody's clock is compared with another's. A leader that has
not renewed for renewDeadlineSeconds acts no more; nobody takes a Lease that was renewed less than
leaseDurationSeconds ago, as seen by who takes it. docs/adr/0016 says why a Lease.
"""

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiohttp import ClientError
from kubernetes.aio.client.exceptions import ApiException
from prometheus_client import Gauge

from finetune_operator.core.objects import Manifest
from finetune_operator.kube.api_server import ApiServer, message_of
from finetune_operator.kube.lease import held_lease, holder_of, lease_ref, released_lease, seconds_of
from finetune_operator.kube.settings import LeaderElectionSettings
from finetune_operator.kube.tasks import until_one_ends

_LOG = logging.getLogger(__name__)
# Several that wait for one Lease do not ask in step: as client-go's JitterFactor.
_JITTER = 1.2
_NO_ANSWER = (ApiException, ClientError, OSError, TimeoutError)

# As controller-runtime has it.
LEADS = Gauge("leader_election_master_status", "1 while this replica holds the Lease", ("name",))


class LeaseLostError(Exception):
    """This process may not act any more; another one may."""


class LeaderElection:
    """One candidate. `server` is asked for nothing but the Lease."""

    def __init__(self, server: ApiServer, settings: LeaderElectionSettings, identity: str) -> None:
        self._server = server
        self._settings = settings
        self._identity = identity
        self._ref = lease_ref(settings.resource_namespace, settings.resource_name)
        self._gauge = LEADS.labels(settings.resource_name)
        self._mine: Manifest | None = None
        self._renewed_at = float("-inf")
        self._answered_at = float("-inf")
        self._seen: Manifest = {}
        self._seen_at = float("-inf")
        self._said = ""

    @property
    def leads(self) -> bool:
        """Whether this process may act: nobody else can yet."""
        return _now() < self._deadline

    @property
    def in_touch(self) -> bool:
        """Whether the API server answered lately, so that this process leads or can take over."""
        return _now() < self._answered_at + self._settings.lease_duration_seconds

    async def run(self, lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Stand by until this process leads, lead until told to end, and hand over then.

        Raises LeaseLostError when the Lease could not be renewed: `lead` has ended by then.
        """
        await self._acquire()
        _LOG.info("%s leads: it holds the Lease %s", self._identity, self._ref.name)
        self._gauge.set(1)
        try:
            await until_one_ends(lead(), self._keep())
        finally:
            self._gauge.set(0)
            await self._release()

    @property
    def _deadline(self) -> float:
        return self._renewed_at + self._settings.renew_deadline_seconds

    async def _acquire(self) -> None:
        while not await self._try():
            await asyncio.sleep(self._settings.retry_period_seconds * (1 + _JITTER * random.random()))

    async def _keep(self) -> None:
        """Renew the Lease for as long as that can be done. Raises LeaseLostError."""
        try:
            while True:
                async with asyncio.timeout_at(self._deadline):
                    await asyncio.sleep(self._settings.retry_period_seconds)
                    await self._try()
        except TimeoutError:
            seconds = self._settings.renew_deadline_seconds
            raise LeaseLostError(f"could not renew the Lease {self._ref.name} for {seconds} s") from None

    async def _try(self) -> bool:
        """Return whether we took the Lease, or renewed it. No answer is a no. Raises LeaseLostError."""
        try:
            async with asyncio.timeout(self._settings.renew_deadline_seconds / 2):
                taken = await self._take()
        except _NO_ANSWER as error:
            reason = message_of(error) if isinstance(error, ApiException) else repr(error)
            self._say(f"the Lease {self._ref.name} cannot be had now ({reason})")
            return False
        self._answered_at = _now()
        return taken

    async def _take(self) -> bool:
        # Whoever renewed it last knows what is there, unless somebody has changed it since.
        asked_at, lease = _now(), self._mine or await self._server.get(self._ref)
        if lease is not None and not self._may_take(lease):
            return False
        seconds = self._settings.lease_duration_seconds
        wanted = held_lease(self._ref, lease, self._identity, seconds, datetime.now(UTC))
        self._mine = await (self._server.replace(wanted) if lease else self._server.create(wanted))
        if self._mine is None:
            return False  # Somebody was faster.
        self._renewed_at = asked_at
        return True

    def _may_take(self, lease: Manifest) -> bool:
        holder, now = holder_of(lease), _now()
        if holder in ("", self._identity):
            return True
        if lease["spec"] != self._seen:
            self._seen, self._seen_at = lease["spec"], now
        if now < self._seen_at + seconds_of(lease):
            if self.leads:
                raise LeaseLostError(f"{holder} has taken the Lease {self._ref.name}")
            self._say(f"{self._identity} stands by: {holder} leads")
            return False
        return True

    async def _release(self) -> None:
        """Let another lead at once, unless somebody does already. Nothing of ours acts by now."""
        mine, may_release = self._mine, self.leads
        self._mine, self._renewed_at = None, float("-inf")
        if mine and may_release:
            with suppress(*_NO_ANSWER):
                async with asyncio.timeout(self._settings.renew_deadline_seconds / 2):
                    await self._server.replace(released_lease(self._ref, mine, datetime.now(UTC)))

    def _say(self, text: str) -> None:
        if text != self._said:
            _LOG.info("%s", text)
            self._said = text


class OnlyReplica:
    """Stands in for an election where there is none: on a developer's machine."""

    leads = True
    in_touch = True

    async def run(self, lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Lead."""
        await lead()


def election_of(settings: LeaderElectionSettings | None, server: ApiServer) -> LeaderElection | OnlyReplica:
    """Return the election that the settings want."""
    return LeaderElection(server, settings, _identity()) if settings else OnlyReplica()


def _identity() -> str:
    """Return a name that no other process has.

    In a pod it is the pod's: a container that is started again leads at once, as the one before it is gone.
    """
    return f"{socket.gethostname()}_{os.environ.get('POD_UID') or uuid4()}"


def _now() -> float:
    return asyncio.get_running_loop().time()
