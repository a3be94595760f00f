"""The poller against pods that answer over real sockets, on one port, at an address of the loopback each."""

import asyncio
import contextlib
import gzip
import socket
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.job import ObservedJob
from finetune_operator.core.observed.kinds import observe
from finetune_operator.finetune.observed import ObservedProgress
from finetune_operator.kube.progress import ProgressPoller

Pod = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TOLD = b'{"stage": "train", "step": 3, "totalSteps": 10, "loss": 0.5}'
PROGRESS = ObservedProgress(stage="train", step=3, total_steps=10, loss=0.5)


def answers(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> Pod:
    head = b"\r\n".join([b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers])
    return sends(head + b"\r\n\r\n" + body)


def sends(answer: bytes) -> Pod:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    return pod


def repeats(head: bytes, again: bytes, seconds: float = 0) -> Pod:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        with contextlib.suppress(ConnectionError), contextlib.closing(writer.transport):
            while True:
                writer.write(again)
                await writer.drain()
                await asyncio.sleep(seconds)

    return pod


OK = b"HTTP/1.1 200 OK\r\n"
GZIP = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
JUNK = {
    "a list": answers(b"[]"),
    "no JSON": answers(b"<html>"),
    "nothing at all": sends(b""),
    "not HTTP": sends(b"\x00\xff" * 100),
    "brackets in brackets": answers(b"[" * 60_000),
    "an error": answers(TOLD, b"500 Internal Server Error"),
    "a redirection": answers(b"", b"302 Found", b"Location: http://169.254.169.254/"),
    "a redirection to nowhere": answers(b"", b"302 Found", b"Location: http://[::1"),
    "another length": sends(OK + b"Content-Length: 9999\r\n\r\n" + TOLD),
    "a length that is none": sends(OK + b"Content-Length: -1\r\n\r\n" + TOLD),
    "a character set that is none": answers(b"{", b"200 OK", b"Content-Type: text/plain; charset=x"),
    "packed": answers(GZIP, b"200 OK", b"Content-Encoding: gzip"),
    "an endless body": repeats(OK + b"\r\n", b"x" * 65536),
    "endless headers": repeats(OK, b"X-More: " + b"x" * 4096 + b"\r\n"),
    "endless continues": repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a slow body": repeats(OK + b"Content-Length: 1000\r\n\r\n", b" ", 0.1),
    "slow headers": repeats(OK, b"A: b\r\n", 0.1),
}


def poller_of(
    addresses: dict[str, str], port: int, on_change: Callable[[ObservedJob], None], told: str = ""
) -> ProgressPoller:
    cache = Cache()
    for name, address in addresses.items():
        job = _object("batch/v1", "Job", name, {"active": 1})
        if told:
            job["metadata"]["labels"] = {**job["metadata"]["labels"], "finetune.dev/progress-port": told}
        cache.put(observe(job))
        pod = _object("v1", "Pod", f"{name}-0", {"phase": "Running", "podIP": address})
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": f"Job-{name}"}
        pod["metadata"]["ownerReferences"] = [owner]
        cache.put(observe(pod))
    return ProgressPoller(cache, on_change, port)


def _object(api_version: str, kind: str, name: str, status: Manifest) -> Manifest:
    labels = {
        "finetune.dev/attempt": "0",
        "finetune.dev/run": "r",
        "app.kubernetes.io/component": "train",
        "batch.kubernetes.io/job-completion-index": "0",
    }
    metadata: dict[str, Any] = {"name": name, "namespace": "ml", "uid": f"{kind}-{name}", "labels": labels}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {**metadata, "resourceVersion": "1"},
        "status": status,
    }


async def poll(pods: dict[str, tuple[str, Pod]], *, strange: dict[str, str] | None = None) -> set[str]:
    """Return the names of the pods whose progress is known after one poll."""
    known: set[str] = set()
    servers, port = [], 0
    for address, pod in pods.values():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        servers.append(await asyncio.start_server(pod, address, port, family=family))
        port = servers[0].sockets[0].getsockname()[1]
    addresses = {name: address for name, (address, _) in pods.items()} | (strange or {})
    poller = poller_of(addresses, port, lambda job: known.add(job.name))
    try:
        await poller.poll()
    finally:
        for server in servers:
            server.close()
    return known


def test_no_pod_holds_up_another_or_the_process() -> None:
    pods = {name: (f"127.0.9.{number}", pod) for number, (name, pod) in enumerate(JUNK.items(), 1)}
    good = {"good": ("127.0.8.1", answers(TOLD)), "as good": ("127.0.8.2", answers(TOLD))}
    strange = {
        "no address": "x",
        "an URL": "127.0.0.1@evil/",
        "a zone": "fe80::1%eth0",
        "nobody": "127.0.7.7",
    }
    tracemalloc.start()
    began = time.monotonic()
    known = asyncio.run(poll(good | pods, strange=strange))
    peak, seconds = tracemalloc.get_traced_memory()[1], time.monotonic() - began
    tracemalloc.stop()
    assert known == {"good", "as good"}
    assert peak < 50e6  # the pods' own side is in it
    assert seconds < 30


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_pod_of_an_ipv6_cluster_is_heard() -> None:
    assert asyncio.run(poll({"six": ("::1", answers(TOLD))})) == {"six"}


@pytest.mark.parametrize("told", ["", "PORT", "0", "70000", "http", "-1"])
def test_a_pod_is_asked_where_its_job_says_that_it_tells(told: str) -> None:
    async def known_of() -> set[str]:
        known: set[str] = set()
        async with await asyncio.start_server(answers(TOLD), "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            elsewhere = 1 if told == "PORT" else port
            said = told.replace("PORT", str(port))
            poller = poller_of({"a": "127.0.0.1"}, elsewhere, lambda job: known.add(job.name), said)
            await poller.poll()
        return known

    assert asyncio.run(known_of()) == {"a"}
