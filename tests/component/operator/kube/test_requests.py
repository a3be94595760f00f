"""The poller of what canaries count, against a server that answers over a real socket."""

import asyncio
from typing import Any

import pytest

from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.kube.requests import REQUESTS
from finetune_operator.kube.server_poller import ServerPoller

METRICS = b'http_requests_total{handler="/v1/completions",method="POST",status="5xx"} 2.0\n'
CANARY = {"parentRefs": [{"name": "public"}]}


def put(cache: Cache, api_version: str, kind: str, component: str, **fields: Any) -> None:
    labels = {"app.kubernetes.io/instance": "faq", "app.kubernetes.io/component": component}
    metadata: Manifest = {"name": "faq", "namespace": "ml", "uid": f"uid-of-{kind}", "labels": labels}
    if kind == "Deployment":
        parent = {"apiVersion": "finetune.dev/v1alpha1", "kind": "ModelDeployment", "name": "faq"}
        metadata["ownerReferences"] = [{**parent, "uid": "uid-of-ModelDeployment"}]
    metadata["resourceVersion"] = "1"
    cache.put(observe({"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}))


@pytest.mark.parametrize(
    ("component", "canary", "body", "count"),
    [
        pytest.param("canary", CANARY, METRICS, 2, id="a canary"),
        pytest.param("canary", CANARY, b"<html>", None, id="junk"),
        pytest.param("serve", CANARY, METRICS, None, id="what serves"),
        pytest.param("canary", None, METRICS, None, id="nobody wants it any more"),
    ],
)
def test_canaries_are_asked_what_they_count(
    component: str, canary: Manifest | None, body: bytes, count: int | None
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /metrics ")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async def life() -> None:
        changed: list[str] = []
        cache = Cache()
        poller = ServerPoller(REQUESTS, cache, lambda server: changed.append(server.name))
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            spec = {"port": server.sockets[0].getsockname()[1], "rollout": {"canary": canary}}
            put(cache, "finetune.dev/v1alpha1", "ModelDeployment", "", spec=spec)
            put(cache, "apps/v1", "Deployment", component, spec={})
            put(cache, "v1", "Pod", component, status={"phase": "Running", "podIP": "127.0.0.1"})
            for _ in range(2):  # the same again is no news
                await poller.poll()
            (pod,) = cache.of_kind("Pod", ObservedPod)
            told = poller.answer_of(pod)
            assert (told.count if told else None) == count
        await poller.poll()
        assert poller.answer_of(pod) is None
        assert changed == (["faq", "faq"] if count else [])

    asyncio.run(life())
