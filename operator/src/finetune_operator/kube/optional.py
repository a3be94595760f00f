"""Which APIs of others the cluster has: looked for at the start, and again for those that were missing.

kopf begins no watch while it runs: when an API comes, this process ends, and its next one watches that too.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.kube.api_server import ApiServer
from finetune_operator.kube.resources import OPTIONAL, Resource

_LOG = logging.getLogger(__name__)
_PERIOD_SECONDS = 30.0
_RETRY_SECONDS = 1.0


async def served_of(server: ApiServer) -> tuple[Resource, ...]:
    """Return those that the cluster has, once it can be asked."""
    while True:
        try:
            return tuple([each for each in OPTIONAL if await server.serves(each)])
        except (ApiException, OSError, TimeoutError) as error:
            _LOG.warning("cannot ask which APIs there are (%r); waiting", error)
            await asyncio.sleep(_RETRY_SECONDS)


async def until_more_are_served(
    server: ApiServer, served: Sequence[Resource], is_wanted: Callable[[], bool]
) -> None:
    """Return when the cluster has one that it had not; nobody is asked while none is wanted."""
    missing = [each for each in OPTIONAL if each not in served]
    while True:
        await asyncio.sleep(_PERIOD_SECONDS)
        if not is_wanted():
            continue
        try:
            for each in missing:
                if await server.serves(each):
                    _LOG.warning("%s is served now: this process ends, and the next watches it", each.kind)
                    return
        except (ApiException, OSError, TimeoutError) as error:
            _LOG.debug("cannot ask which APIs there are: %r", error)
