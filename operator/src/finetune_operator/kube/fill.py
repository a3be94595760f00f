"""Fills the cache before the first reconcile: what is not in it then is not there."""

import asyncio
import logging
from collections.abc import Sequence

from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.kube.cache import Cache
from finetune_operator.kube.requests import Requests
from finetune_operator.kube.resources import WATCHED, Resource

_LOG = logging.getLogger(__name__)
_PERIOD_SECONDS = 1.0


async def fill(cache: Cache, requests: Requests, namespaces: Sequence[str]) -> None:
    """Put everything that concerns us into the cache; no namespaces: of all of them.

    Waits until the API server serves both kinds: the operator may start before its CRDs do.
    """
    said = ""
    while reason := await _refusal(cache, requests, namespaces):
        if reason != said:
            _LOG.warning("the objects cannot be listed yet (%s); waiting", reason)
            said = reason
        await asyncio.sleep(_PERIOD_SECONDS)


async def _refusal(cache: Cache, requests: Requests, namespaces: Sequence[str]) -> str:
    try:
        await asyncio.gather(
            *(_list(cache, requests, each, ns) for each in WATCHED for ns in namespaces or (None,))
        )
    except ApiException as refused:
        return f"{refused.status} {refused.reason}"
    except (OSError, TimeoutError) as error:
        return repr(error)
    return ""


async def _list(cache: Cache, requests: Requests, resource: Resource, namespace: str | None) -> None:
    async for page in requests.list_pages(resource, namespace):
        for item in page:
            # The items of a list do not say what they are.
            cache.put({"apiVersion": resource.api_version, "kind": resource.kind, **item})
