"""The controller: kopf watches and fills the cache, and wakes what a change concerns.

No daemons and no finalizer: a parent's children go with it by their owner references, so that a deletion does
not wait for the operator (docs/adr/0006). Of several replicas one acts, the holder of a Lease, and the others
wait (docs/adr/0016).
"""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from socket import has_dualstack_ipv6
from typing import Any

import click
import kopf
from prometheus_client import REGISTRY, start_http_server

from finetune_operator.api.resources import MODEL_DEPLOYMENT
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.observed.object import ObservedObject
from finetune_operator.kinds import Surroundings
from finetune_operator.kube.adapters import ADAPTERS
from finetune_operator.kube.api_server import PAGE, ApiServer
from finetune_operator.kube.connection import Connection, connected
from finetune_operator.kube.controller import Controller
from finetune_operator.kube.delays import Delays
from finetune_operator.kube.endpoint import endpoint_of
from finetune_operator.kube.health import serve_health
from finetune_operator.kube.initial_list import list_into
from finetune_operator.kube.leader_election import LeaseLostError, election_of
from finetune_operator.kube.log import configure_log
from finetune_operator.kube.metrics import OperatorCollector
from finetune_operator.kube.no_diffs import NoDiffs
from finetune_operator.kube.optional import served_of, until_more_are_served
from finetune_operator.kube.progress import ProgressPoller
from finetune_operator.kube.requests import REQUESTS
from finetune_operator.kube.resources import (
    HTTP_ROUTES,
    LEADER_WORKER_SETS,
    PARENTS,
    SCALED_OBJECTS,
    WATCHED,
    Resource,
)
from finetune_operator.kube.resync import resync_for_ever
from finetune_operator.kube.server_poller import ServerPoller
from finetune_operator.kube.settings import InvalidSettingsError, Settings, load_settings
from finetune_operator.kube.tasks import until_one_ends
from finetune_operator.kube.wake import parents_of
from finetune_operator.kube.work_queue import WorkQueue
from finetune_operator.kube.workers import reconcile_for_ever

Wake = Callable[[ObservedObject], None]

_LOG = logging.getLogger(__name__)
# Their time is spent waiting for the API server.
_WORKERS = 32
_RESYNC_SECONDS = 600.0
_AWAY_RETRY_SECONDS = 1.0
_IDLE_WORKER_SECONDS = 0.1


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), help="The configuration file, in YAML.")
@click.version_option(package_name="finetune-operator")
def main(config: Path | None) -> None:
    """Reconcile FineTuneJobs and ModelDeployments until told to stop."""
    try:
        settings = load_settings(config)
    except InvalidSettingsError as invalid:
        for problem in str(invalid).splitlines():
            click.echo(f"error: {problem}", err=True)
        sys.exit(2)
    configure_log(settings.log)
    try:
        asyncio.run(_run(settings))
    except LeaseLostError as lost:
        _LOG.error("%s: this process ends, so that another one may lead", lost)
        sys.exit(1)


async def _run(settings: Settings) -> None:
    """Run until SIGTERM; a task of ours that fails ends the process, and the kubelet starts another."""
    ended, begun = asyncio.Event(), asyncio.Event()
    _set_at_signals(ended)
    start_http_server(settings.ports.metrics, addr="::" if has_dualstack_ipv6() else "0.0.0.0")
    async with connected() as connection:
        election = election_of(settings.leader_election, ApiServer(connection.client))
        server = ApiServer(connection.client, lambda: election.leads)
        await until_one_ends(
            election.run(lambda: _lead(settings, connection, server, begun, ended)),
            serve_health(
                settings.ports.health,
                lambda: election.in_touch and (begun.is_set() or not election.leads),
            ),
            _until(ended),
        )


async def _lead(
    settings: Settings, connection: Connection, server: ApiServer, begun: asyncio.Event, ended: asyncio.Event
) -> None:
    """Reconcile everything, from what the API server has now: another replica may have just stopped."""
    cache, queue = Cache(), WorkQueue()
    served = await served_of(server)
    watched = (*WATCHED, *served)
    await list_into(cache, server, settings.namespaces, watched)
    begun.set()

    def wake(obj: ObservedObject) -> None:
        for ref in parents_of(cache, obj):
            queue.wake(ref)

    poller = ProgressPoller(cache, wake)
    adapters = ServerPoller(ADAPTERS, cache, wake)
    requests = ServerPoller(REQUESTS, cache, wake)
    delays = Delays(cache, server, wake)
    REGISTRY.register(OperatorCollector(cache, queue, poller))
    surroundings = Surroundings(
        objects=cache,
        progress_of=poller.progress_of,
        endpoint_of=endpoint_of,
        delay_of=delays.delay_of,
        adapters_of=adapters.answer_of,
        requests_of=requests.answer_of,
    )
    config = replace(
        settings.config,
        has_leader_worker_sets=LEADER_WORKER_SETS in served,
        has_http_routes=HTTP_ROUTES in served,
        has_scaled_objects=SCALED_OBJECTS in served,
    )
    controller = Controller(surroundings, server, config, queue.wake)
    for obj in (obj for parent in PARENTS for obj in cache.of_kind(parent.kind, ObservedObject)):
        queue.wake(obj.ref)
    await until_one_ends(
        _kopf(settings, connection, cache, watched, wake, ended),
        poller.run(),
        delays.run(),
        adapters.run(),
        requests.run(),
        resync_for_ever(cache, server, settings.namespaces, watched, wake, _RESYNC_SECONDS),
        until_more_are_served(
            server, served, lambda: any(cache.of_kind(MODEL_DEPLOYMENT.kind, ObservedObject))
        ),
        *(reconcile_for_ever(queue, controller) for _ in range(_WORKERS)),
    )


def _set_at_signals(ended: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)


async def _until(ended: asyncio.Event) -> None:
    await ended.wait()


async def _kopf(
    settings: Settings,
    connection: Connection,
    cache: Cache,
    watched: Sequence[Resource],
    wake: Wake,
    ended: asyncio.Event,
) -> None:
    """Watch for ever."""
    registry = kopf.OperatorRegistry()

    # A coroutine: kopf would call a plain function in a thread.
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=connection.session())

    kopf.on.login(registry=registry)(login)
    for resource in watched:
        _watch(resource, registry, cache, wake)
    ours = asyncio.all_tasks()
    # kopf would ask for the name of the user, and a container's user need not have one.
    identity: Any = socket.gethostname()
    tasks = await kopf.spawn_tasks(
        identity=identity,
        registry=registry,
        settings=operator_settings(watched),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
    )
    # kopf has put its own in their place, which end what is under way after up to five seconds.
    _set_at_signals(ended)
    await kopf.run_tasks(tasks, ignored=ours)


def operator_settings(watched: Sequence[Resource]) -> kopf.OperatorSettings:
    """Return what kopf is told of how to watch."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = NoDiffs()
    # As long as the API server is away, and not with kopf's growing waits: the last of them would outlast the
    # server's return by up to 21 seconds, and a watch that was refused after it would end the process.
    settings.networking.error_backoffs = repeat(_AWAY_RETRY_SECONDS)
    # Without it kopf watches CRDs and namespaces, which a namespaced operator may not.
    settings.scanning.disabled = True
    # A worker of its own waits so long for more of each object, five seconds by default: of a list all would.
    settings.queueing.idle_timeout = _IDLE_WORKER_SECONDS
    # A list in one piece would be the most that the process ever holds.
    settings.watching.chunk_size = PAGE
    for resource in watched:
        if resource.label_selector:
            name = (resource.group, resource.version, resource.plural)
            settings.watching.label_selectors[name] = resource.label_selector
    return settings


def _watch(resource: Resource, registry: kopf.OperatorRegistry, cache: Cache, wake: Wake) -> None:
    """Keep the cache as the watch says."""

    # A coroutine: kopf would call a plain function in a thread.
    async def on_event(event: kopf.RawEvent, **_: Any) -> None:
        obj = observe(dict(event["object"]))
        if event["type"] == "DELETED":
            cache.drop(obj)
            wake(obj)
        elif cache.put(obj):
            wake(obj)

    name = (resource.group, resource.version, resource.plural)
    kopf.on.event(*name, registry=registry, id=f"watch-{resource.plural}")(on_event)
