"""Whom a change concerns."""

from typing import Any

from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.kube.wake import parents_of

LABELS = {"app.kubernetes.io/instance": "faq", "app.kubernetes.io/component": "train"}


def test_a_pod_wakes_the_parent_of_what_made_it(objects: Any) -> None:
    cache = Cache()
    cache.put(observe(objects.make("Job", "train", owner="uid-of-faq", labels=LABELS)))
    pod = observe(objects.make("Pod", "train-0", labels=LABELS))
    assert [(r.kind, r.name) for r in parents_of(cache, pod)] == [("FineTuneJob", "faq")]


def test_a_job_wakes_the_deployments_that_name_it(objects: Any) -> None:
    cache = Cache()
    for name, spec in {
        "of-the-model": {"model": {"fineTuneJobRef": {"name": "faq"}}},
        "of-the-adapter": {
            "model": {"uri": "m"},
            "adapters": [{"name": "a", "fineTuneJobRef": {"name": "faq"}}],
        },
        "of-another": {"model": {"fineTuneJobRef": {"name": "other"}}},
    }.items():
        cache.put(observe(objects.make("ModelDeployment", name, spec=spec)))
    job = observe(objects.make("FineTuneJob", "faq", spec={}))
    assert {r.name for r in parents_of(cache, job)} == {"faq", "of-the-model", "of-the-adapter"}


def test_a_job_wakes_the_jobs_that_start_from_it(objects: Any) -> None:
    cache = Cache()
    for name, started in {"second": "faq", "of-another": "other"}.items():
        spec = {"model": {"uri": "m"}, "lora": {"from": {"fineTuneJobRef": {"name": started}}}}
        cache.put(observe(objects.make("FineTuneJob", name, spec=spec)))
    job = observe(objects.make("FineTuneJob", "faq", spec={"model": {"uri": "m"}}))
    assert {r.name for r in parents_of(cache, job)} == {"faq", "second"}
