"""Finds objects that were deleted while no watch was there to say so.

kopf lists again after a broken watch and reports what is there, but not what is gone.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import chain, repeat

from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.core.objects import Manifest
from finetune_operator.kube.cache import Cache
from finetune_operator.kube.requests import Requests
from finetune_operator.kube.resources import WATCHED, Resource

_LOG = logging.getLogger(__name__)
_FIRST_SECONDS = 15.0


async def resync(cache: Cache, requests: Requests, namespaces: Sequence[str]) -> list[Manifest]:
    """Drop what is gone from the cache, and return it; no namespaces: all of them."""
    gone: list[Manifest] = []
    for resource in WATCHED:
        for namespace in namespaces or (None,):
            gone += await _gone(cache, requests, resource, namespace)
    for obj in gone:
        cache.drop(obj)
    return gone


async def _gone(
    cache: Cache, requests: Requests, resource: Resource, namespace: str | None
) -> list[Manifest]:
    known = [o for o in cache.of_kind(resource.kind) if namespace in (None, o["metadata"]["namespace"])]
    if not known:
        return []
    # Listed after `known` was taken: an object made in between is in the list, or not in `known`.
    listed = await requests.list_metadata(resource, namespace)
    there = {item["metadata"]["uid"] for item in listed["items"]}
    return [obj for obj in known if obj["metadata"]["uid"] not in there]


async def resync_for_ever(
    cache: Cache,
    requests: Requests,
    namespaces: Sequence[str],
    on_gone: Callable[[Manifest], None],
    period_seconds: float,
) -> None:
    """Resync at a fixed rate; a failed one is left to the next."""
    # The first finds what was deleted after the cache was filled and before the watches began.
    for seconds in chain([_FIRST_SECONDS], repeat(period_seconds)):
        await asyncio.sleep(seconds)
        try:
            for obj in await resync(cache, requests, namespaces):
                on_gone(obj)
        except (ApiException, OSError, TimeoutError) as error:
            _LOG.warning("could not list objects (%s); the next resync will", error)
