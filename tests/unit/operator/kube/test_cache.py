"""The cache keeps the newest version of every object, and finds it by owner and by labels."""

from typing import Any

import pytest

from finetune_operator.core.objects import Ref
from finetune_operator.kube.cache import Cache
from finetune_operator.kube.observe import parents_of


def ref(kind: str, name: str) -> Ref:
    return Ref(api_version="v1", kind=kind, namespace="ml", name=name)


@pytest.mark.parametrize(
    ("versions", "kept"),
    [
        pytest.param((1, 2), 2, id="a newer one replaces"),
        pytest.param((2, 1), 2, id="an older one is ignored"),
        pytest.param((9, 10), 10, id="compared as numbers"),
    ],
)
def test_the_newest_version_is_kept(objects: Any, versions: tuple[int, int], kept: int) -> None:
    cache = Cache()
    for version in versions:
        cache.put(objects.make("ConfigMap", "run", version=version))
    found = cache.get(ref("ConfigMap", "run"))
    assert found
    assert found["metadata"]["resourceVersion"] == str(kept)


def test_only_what_is_read_is_kept(objects: Any) -> None:
    cache = Cache()
    cache.put(objects.make("ConfigMap", "run", data={"run.json": "{}"}))
    found = cache.get(ref("ConfigMap", "run"))
    assert found
    assert "data" not in found
    assert "managedFields" not in found["metadata"]


def test_an_owner_finds_what_it_owns_until_that_is_gone(objects: Any) -> None:
    cache = Cache()
    owner, child = (
        objects.make("FineTuneJob", "faq", spec={}),
        objects.make("Job", "train", owner="uid-of-faq"),
    )
    cache.put(owner)
    cache.put(child)
    assert [c["metadata"]["name"] for c in cache.owned_by(owner, "Job")] == ["train"]
    cache.drop(child)
    assert cache.owned_by(owner) == []


def test_the_end_of_an_object_does_not_drop_its_successor(objects: Any) -> None:
    cache = Cache()
    cache.put(objects.make("Job", "train", version=5, uid="second"))
    cache.drop(objects.make("Job", "train", version=6, uid="first"))
    assert cache.get(ref("Job", "train")) is not None


def test_a_pod_wakes_the_parent_of_what_made_it(objects: Any) -> None:
    cache = Cache()
    labels = {"app.kubernetes.io/instance": "faq", "app.kubernetes.io/component": "train"}
    cache.put(objects.make("Job", "train", owner="uid-of-faq", labels=labels))
    pod = objects.make("Pod", "train-0", labels=labels)
    assert [(r.kind, r.name) for r in parents_of(cache, pod)] == [("FineTuneJob", "faq")]
