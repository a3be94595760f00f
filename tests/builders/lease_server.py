"""An API server that holds one Lease, as each of several candidates reaches it: late, or not at all."""

import asyncio
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random

from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.core.objects import Manifest, Ref


@dataclass(kw_only=True)
class LeaseServer:
    """`lease` is what it holds; who is in `cut_off` reaches it, or hears its answer, no more."""

    draw: Random = field(default_factory=Random)
    slowest_seconds: float = 0.0
    lease: Manifest | None = None
    requests: int = 0
    cut_off: set[str] = field(default_factory=set)

    def as_seen_by(self, candidate: str) -> "Connection":
        return Connection(server=self, candidate=candidate)

    def write(self, manifest: Manifest) -> Manifest:
        version = int(self.lease["metadata"]["resourceVersion"]) + 1 if self.lease else 1
        metadata = {**manifest["metadata"], "resourceVersion": str(version)}
        self.lease = {**deepcopy(manifest), "metadata": metadata}
        return deepcopy(self.lease)


@dataclass(kw_only=True)
class Connection:
    """What one candidate asks; a request may have its effect and no answer."""

    server: LeaseServer
    candidate: str

    async def get(self, _: Ref) -> Manifest | None:
        await self._way()
        found = deepcopy(self.server.lease)
        await self._way()
        return found

    async def create(self, manifest: Manifest) -> Manifest | None:
        await self._way()
        made = None if self.server.lease else self.server.write(manifest)
        await self._way()
        return made

    async def replace(self, manifest: Manifest) -> Manifest | None:
        await self._way()
        there = self.server.lease
        same = there and there["metadata"]["resourceVersion"] == manifest["metadata"]["resourceVersion"]
        written = self.server.write(manifest) if same else None
        await self._way()
        return written

    async def _way(self) -> None:
        self.server.requests += 1
        await asyncio.sleep(self.server.draw.uniform(0, self.server.slowest_seconds))
        if self.candidate in self.server.cut_off:
            if self.server.draw.random() < 0.5:
                raise ApiException(status=503, reason="Service Unavailable")
            await asyncio.sleep(self.server.draw.uniform(0, 60))
            raise ConnectionResetError
