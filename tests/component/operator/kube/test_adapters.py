"""The poller against servers that answer over real sockets: what one has is what it tells now."""

import asyncio
import json
from typing import Any

import pytest

from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.kube.adapters import ADAPTERS
from finetune_operator.kube.server_poller import ServerPoller
from finetune_operator.serving.server_adapters import ServerAdapters

LABELS = {"app.kubernetes.io/instance": "faq", "app.kubernetes.io/component": "serve"}
TONE = {"adapters": [{"name": "tone", "path": "adapters/tone"}]}


def put(cache: Cache, api_version: str, kind: str, owner: str = "", **fields: Any) -> None:
    metadata: Manifest = {"name": "faq", "namespace": "ml", "uid": f"uid-of-{kind}", "labels": LABELS}
    if owner:
        reference = {"apiVersion": "finetune.dev/v1alpha1", "kind": owner, "name": "faq"}
        metadata["ownerReferences"] = [{**reference, "uid": f"uid-of-{owner}"}]
    metadata["resourceVersion"] = "1"
    cache.put(observe({"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}))


def pod_of(cache: Cache) -> ObservedPod:
    (pod,) = cache.of_kind("Pod", ObservedPod)
    return pod


@pytest.mark.parametrize(
    ("adapters", "body", "told"),
    [
        pytest.param([{"name": "tone"}], TONE, ServerAdapters(paths={"tone": "adapters/tone"}), id="one"),
        pytest.param([{"name": "tone"}], [], None, id="junk"),
        pytest.param([], TONE, None, id="nobody wants any"),
    ],
)
def test_a_server_is_asked_at_its_own_port(
    adapters: list[Manifest], body: Any, told: ServerAdapters | None
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /adapters ")
        text = json.dumps(body).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
        await writer.drain()
        writer.close()

    async def life() -> None:
        changed: list[str] = []
        cache = Cache()
        poller = ServerPoller(ADAPTERS, cache, lambda server: changed.append(server.name))
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            spec = {"adapters": adapters, "port": server.sockets[0].getsockname()[1]}
            put(cache, "finetune.dev/v1alpha1", "ModelDeployment", spec=spec)
            put(cache, "apps/v1", "Deployment", "ModelDeployment", spec={})
            put(cache, "v1", "Pod", status={"phase": "Running", "podIP": "127.0.0.1"})
            for _ in range(2):  # the same again is no news
                await poller.poll()
            assert poller.answer_of(pod_of(cache)) == told
        await poller.poll()
        assert poller.answer_of(pod_of(cache)) is None
        assert changed == (["faq", "faq"] if told else [])

    asyncio.run(life())
