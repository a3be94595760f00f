"""Lists everything before the first reconcile: what is not in the cache then is not there."""

import asyncio
import logging
from collections.abc import Sequence

from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.kube.api_server import ApiServer
from finetune_operator.kube.resources import Resource

_LOG = logging.getLogger(__name__)
_PERIOD_SECONDS = 1.0


async def list_into(
    cache: Cache, server: ApiServer, namespaces: Sequence[str], watched: Sequence[Resource]
) -> None:
    """Put everything that concerns us into the cache; no namespaces: of all of them.

    Waits until the API server serves both kinds: the operator may start before its CRDs do.
    """
    said = ""
    while reason := await _refusal(cache, server, namespaces, watched):
        if reason != said:
            _LOG.warning("the objects cannot be listed yet (%s); waiting", reason)
            said = reason
        await asyncio.sleep(_PERIOD_SECONDS)


async def _refusal(
    cache: Cache, server: ApiServer, namespaces: Sequence[str], watched: Sequence[Resource]
) -> str:
    try:
        await asyncio.gather(
            *(_list(cache, server, each, ns) for each in watched for ns in namespaces or (None,))
        )
    except ApiException as refused:
        return f"{refused.status} {refused.reason}"
    except (OSError, TimeoutError) as error:
        return repr(error)
    return ""


async def _list(cache: Cache, server: ApiServer, resource: Resource, namespace: str | None) -> None:
    async for item in server.list_each(resource, namespace):
        # The items of a list do not say what they are.
        cache.put(observe({"apiVersion": resource.api_version, "kind": resource.kind, **item}))
