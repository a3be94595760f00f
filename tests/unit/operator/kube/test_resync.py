"""What a list no longer has is gone; however many pages it comes in."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.kube.api_server import ApiServer
from finetune_operator.kube.resources import WATCHED, Resource
from finetune_operator.kube.resync import resync


class Pages:
    """Lists Jobs by the names that are there, some at a time."""

    def __init__(self, *pages: list[str]) -> None:
        self._pages = pages

    async def list_each(
        self, resource: Resource, namespace: str | None, *, metadata_only: bool = False
    ) -> AsyncIterator[Manifest]:
        assert (resource.kind, namespace, metadata_only) == ("Job", None, True)
        for name in (name for page in self._pages for name in page):
            yield {"metadata": job(name)["metadata"]}


def job(name: str) -> Manifest:
    metadata = {"namespace": "ml", "name": name, "uid": f"uid-of-{name}", "resourceVersion": "1"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}}


@pytest.mark.parametrize(
    ("pages", "gone"),
    [
        pytest.param([["a", "b", "c"]], [], id="one page"),
        pytest.param([["a"], ["b"], ["c"]], [], id="a page each"),
        pytest.param([["a"], ["c"]], ["b"], id="between two pages"),
        pytest.param([[]], ["a", "b", "c"], id="nothing is there"),
    ],
)
def test_what_no_page_has_is_gone(pages: list[list[str]], gone: list[str]) -> None:
    cache = Cache()
    for name in "abc":
        cache.put(observe(job(name)))
    found = asyncio.run(resync(cache, cast(ApiServer, Pages(*pages)), (), WATCHED))
    assert sorted(obj.ref.name for obj in found) == gone
