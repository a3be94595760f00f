"""The cache keeps the newest version of every object, and finds it by owner and by labels."""

from typing import Any

import pytest

from finetune_operator.core.objects import Ref
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.child import ObservedChild
from finetune_operator.core.observed.job import ObservedJob
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.observed.object import ObservedObject


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
        cache.put(observe(objects.make("ConfigMap", "run", version=version)))
    found = cache.get(ref("ConfigMap", "run"), ObservedChild)
    assert found
    assert found.version == kept


def test_only_what_is_read_is_kept(objects: Any) -> None:
    made = observe(objects.make("ConfigMap", "run", data={"run.json": "{}"}, spec={"a": 1}))
    assert isinstance(made, ObservedChild)
    assert made.spec is None
    assert "run.json" not in repr(made)
    assert "managedFields" not in repr(made)


def test_an_owner_finds_what_it_owns_until_that_is_gone(objects: Any) -> None:
    cache = Cache()
    owner, child = (
        observe(objects.make("FineTuneJob", "faq", spec={})),
        observe(objects.make("Job", "train", owner="uid-of-faq")),
    )
    cache.put(owner)
    cache.put(child)
    assert [c.name for c in cache.owned_by(owner, ObservedJob)] == ["train"]
    cache.drop(child)
    assert cache.owned_by(owner, ObservedObject) == []


def test_a_job_finds_what_names_it_as_long_as_that_does(objects: Any) -> None:
    cache, job = Cache(), {"model": {"fineTuneJobRef": {"name": "faq"}}}
    faq = Ref(api_version="finetune.dev/v1alpha1", kind="FineTuneJob", namespace="ml", name="faq")
    server = objects.make("ModelDeployment", "chat", spec=job, version=1)
    cache.put(observe(server))
    assert {each.name for each in cache.naming(faq)} == {"chat"}
    cache.put(observe(objects.make("ModelDeployment", "chat", spec={"model": {"uri": "m"}}, version=2)))
    assert not cache.naming(faq)
    cache.put(observe(objects.make("ModelDeployment", "chat", spec=job, version=3)))
    cache.drop(observe(objects.make("ModelDeployment", "chat", version=4)))
    assert not cache.naming(faq)


def test_the_end_of_an_object_does_not_drop_its_successor(objects: Any) -> None:
    cache = Cache()
    cache.put(observe(objects.make("Job", "train", version=5, uid="second")))
    cache.drop(observe(objects.make("Job", "train", version=6, uid="first")))
    assert cache.get(ref("Job", "train"), ObservedJob) is not None


def test_the_pods_of_a_deployment_are_told_by_labels(objects: Any) -> None:
    labels = {"app.kubernetes.io/instance": "faq", "app.kubernetes.io/component": "serve"}
    cache = Cache()
    server = observe(objects.make("Deployment", "faq", labels=labels))
    cache.put(server)
    cache.put(observe(objects.make("Pod", "faq-1-2", owner="uid-of-its-replica-set", labels=labels)))
    cache.put(observe(objects.make("Pod", "other", labels={**labels, "app.kubernetes.io/instance": "x"})))
    assert [pod.name for pod in cache.owned_by(server, ObservedObject)] == ["faq-1-2"]
