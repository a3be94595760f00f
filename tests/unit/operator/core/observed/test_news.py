"""What is news to a reconcile, and what is not."""

from dataclasses import replace
from typing import Any

import pytest

from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe

RUNNING = {"phase": "Running", "containerStatuses": [{"name": "main", "state": {"running": {}}}]}
PENDING = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}
UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/4 nodes are available"}],
}
LABELS = {
    "app.kubernetes.io/component": "train",
    "finetune.dev/run": "0123abcd",
    "finetune.dev/attempt": "0",
}
STARTED = "2026-01-01T00:00:00Z"
COMPLETE = [{"type": "Complete", "status": "True", "lastTransitionTime": STARTED}]


def is_news(before: dict[str, Any] | None, after: dict[str, Any]) -> bool:
    """Whether a cache that holds one version takes the next for news."""
    cache = Cache()
    if before:
        cache.put(replace(observe(before), version=1))
    return cache.put(replace(observe(after), version=2))


def ended(exit_code: int) -> dict[str, Any]:
    state = {"terminated": {"exitCode": exit_code}}
    return {"phase": "Failed", "containerStatuses": [{"name": "main", "state": state}]}


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        pytest.param(None, PENDING, False, id="made"),
        pytest.param(PENDING, RUNNING, False, id="runs"),
        pytest.param(RUNNING, ended(0), False, id="done, as its Job says too"),
        pytest.param(RUNNING, ended(3), True, id="failed"),
        pytest.param(None, UNSCHEDULABLE, True, id="not scheduled"),
        pytest.param(UNSCHEDULABLE, PENDING, True, id="scheduled at last"),
        pytest.param(
            RUNNING,
            RUNNING | {"conditions": [{"type": "DisruptionTarget", "status": "True"}]},
            True,
            id="disrupted",
        ),
    ],
)
def test_a_pod_that_does_well_is_no_news(
    objects: Any, before: dict[str, Any] | None, after: dict[str, Any], news: bool
) -> None:
    old = objects.make("Pod", "train-0", status=before) if before else None
    assert is_news(old, objects.make("Pod", "train-0", version=2, status=after)) is news


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        pytest.param({}, {"startTime": STARTED}, True, id="started"),
        pytest.param({"active": 4, "ready": 1}, {"active": 4, "ready": 2}, False, id="one more is ready"),
        pytest.param({"startTime": STARTED}, {"conditions": COMPLETE}, True, id="complete"),
    ],
)
def test_a_job_is_news_when_it_starts_and_ends(
    objects: Any, before: dict[str, Any], after: dict[str, Any], news: bool
) -> None:
    old, new = (
        objects.make("Job", "train", owner="uid-of-faq", labels=LABELS, status=status)
        for status in (before, after)
    )
    assert is_news(old, new) is news


def test_another_version_alone_is_no_news(objects: Any) -> None:
    old = objects.make("Service", "faq", spec={"clusterIP": "None"})
    same = objects.make("Service", "faq", version=2, spec={"clusterIP": "None"})
    changed = objects.make("Service", "faq", version=2, spec={"clusterIP": "10.0.0.1"})
    assert [is_news(None, old), is_news(old, same), is_news(old, changed)] == [True, False, True]


def test_a_job_of_somebody_who_borrowed_our_label_is_looked_at_too(objects: Any) -> None:
    theirs = objects.make("Job", "theirs", labels={"app.kubernetes.io/managed-by": "finetune-operator"})
    assert is_news(theirs, theirs | {"status": {"startTime": STARTED}})
