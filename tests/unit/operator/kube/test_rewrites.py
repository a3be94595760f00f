"""A child that somebody changes back each time: how often it is put right, and whom the event names."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finetune_operator.core.digest import with_spec_hash
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.kube.rewrites import Rewrites, rewritten

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def service(objects: Any, port: int = 8000) -> Manifest:
    made: Manifest = objects.make("Service", "faq", spec={"ports": [{"port": port}]})
    return with_spec_hash(made)


def seconds_applied(rewrites: Rewrites, child: Manifest, until: int) -> tuple[list[int], list[int]]:
    """When it is applied, where every reconcile finds it changed; and when it is said."""
    applied, said = [], []
    for second in range(until):
        now = T0 + timedelta(seconds=second)
        if not rewrites.pause_of(child, now):
            applied.append(second)
            if rewrites.applies(child, now):
                said.append(second)
    return applied, said


@pytest.fixture
def cache() -> Cache:
    return Cache()


def test_it_is_put_right_ever_more_seldom_and_said_once(cache: Cache, objects: Any) -> None:
    child = service(objects)
    cache.put(observe(child))
    applied, said = seconds_applied(Rewrites(cache=cache), child, until=3600)
    assert applied == [0, 1, 2, 12, 32, 72, 152, 312, 632, 1232, 1832, 2432, 3032]
    assert said == [2]


def test_what_we_change_ourselves_is_applied_at_once(cache: Cache, objects: Any) -> None:
    child = service(objects)
    cache.put(observe(child))
    rewrites = Rewrites(cache=cache)
    seconds_applied(rewrites, child, until=100)
    changed = service(objects, port=9000)
    now = T0 + timedelta(seconds=101)
    assert not rewrites.pause_of(changed, now)
    assert not rewrites.applies(changed, now)


def test_what_stayed_as_applied_for_long_starts_anew(cache: Cache, objects: Any) -> None:
    child = service(objects)
    cache.put(observe(child))
    rewrites = Rewrites(cache=cache)
    seconds_applied(rewrites, child, until=100)
    later = T0 + timedelta(hours=1)
    assert not rewrites.pause_of(child, later)
    assert not rewrites.applies(child, later)
    assert not rewrites.pause_of(child, later + timedelta(seconds=1))


@pytest.mark.parametrize(
    ("managers", "who"),
    [
        pytest.param([], "an admission webhook", id="a webhook, in our own request"),
        pytest.param(
            [
                {"manager": "finetune-operator", "fieldsV1": {"f:spec": {}}},
                {"manager": "kube-controller-manager", "subresource": "status", "fieldsV1": {"f:spec": {}}},
                {"manager": "kube-controller-manager", "fieldsV1": {"f:metadata": {"f:annotations": {}}}},
                {"manager": "keda", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "kubectl-edit", "fieldsV1": {"f:metadata": {"f:labels": {}}}},
                {"manager": "kubectl-edit", "fieldsV1": {"f:spec": {}}},
            ],
            "keda and kubectl-edit",
            id="others",
        ),
    ],
)
def test_who_changes_it(objects: Any, managers: list[dict[str, Any]], who: str) -> None:
    live = service(objects)
    live["metadata"]["managedFields"] = managers
    event = rewritten(service(objects), live)
    assert (event.type, event.reason) == ("Warning", "ChildRewritten")
    assert event.message.startswith(f"{who} changes Service faq each time that it is applied")
