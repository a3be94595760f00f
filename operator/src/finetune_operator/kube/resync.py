"""Finds objects that were deleted while no watch was there to say so.

kopf lists again after a broken watch and reports what is there, but not what is gone.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import chain, repeat

from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.object import ObservedObject
from finetune_operator.kube.api_server import ApiServer
from finetune_operator.kube.resources import Resource

_LOG = logging.getLogger(__name__)
_FIRST_SECONDS = 15.0


async def resync(
    cache: Cache, server: ApiServer, namespaces: Sequence[str], watched: Sequence[Resource]
) -> list[ObservedObject]:
    """Drop what is gone from the cache, and return it; no namespaces: all of them."""
    gone: list[ObservedObject] = []
    for resource in watched:
        for namespace in namespaces or (None,):
            gone += await _gone(cache, server, resource, namespace)
    for obj in gone:
        cache.drop(obj)
    return gone


async def _gone(
    cache: Cache, server: ApiServer, resource: Resource, namespace: str | None
) -> list[ObservedObject]:
    there = cache.of_kind(resource.kind, ObservedObject)
    known = [obj for obj in there if namespace in (None, obj.ref.namespace)]
    if not known:
        return []
    # Listed after `known` was taken: an object made in between is in the list, or not in `known`.
    items = server.list_each(resource, namespace, metadata_only=True)
    uids = {item["metadata"]["uid"] async for item in items}
    return [obj for obj in known if obj.uid not in uids]


async def resync_for_ever(
    cache: Cache,
    server: ApiServer,
    namespaces: Sequence[str],
    watched: Sequence[Resource],
    on_gone: Callable[[ObservedObject], None],
    period_seconds: float,
) -> None:
    """Resync at a fixed rate; a failed one is left to the next."""
    # The first finds what was deleted after the cache was filled and before the watches began.
    for seconds in chain([_FIRST_SECONDS], repeat(period_seconds)):
        await asyncio.sleep(seconds)
        try:
            for obj in await resync(cache, server, namespaces, watched):
                on_gone(obj)
        except (ApiException, OSError, TimeoutError) as error:
            _LOG.warning("could not list objects (%s); the next resync will", error)
