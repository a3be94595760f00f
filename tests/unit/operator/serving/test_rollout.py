"""Rolling back: to the last version that was available, once, and remembered by the Deployment alone."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import observing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.deployment import observe_deployment
from finetune_operator.core.outcome import Outcome
from finetune_operator.core.plan import Plan
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile
from finetune_operator.serving.rollout import Rollout

Builder = Callable[..., ModelDeployment]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class FakeCluster:
    """Holds one deployment's children; a test says what the Deployment controller makes of them."""

    def __init__(self, parent: ModelDeployment) -> None:
        self.parent = parent
        self.children: dict[Ref, Manifest] = {}
        self.run = "one"

    @property
    def server(self) -> Manifest:
        return next(child for ref, child in self.children.items() if ref.kind == "Deployment")

    @property
    def served(self) -> str:
        (container,) = self.server["spec"]["template"]["spec"]["containers"]
        return str(container["args"][0]).split("/")[3]

    def reconcile(self) -> Plan:
        servers = [child for ref, child in self.children.items() if ref.kind == "Deployment"]
        path = f"runs/{self.run}/merged"
        model = Outcome(claim="shared", model_path=path, complete=True)
        observed = Observed(
            children=observing.children(self.children.values()),
            jobs={"faq": model},
            deployment=observe_deployment(servers[0]) if servers else None,
        )
        plan = reconcile(self.parent, observed, NOW, Config())
        for child in plan.apply:
            before = self.children.get(Ref.of(child), {})
            self.children[Ref.of(child)] = {**child, "status": before.get("status", {})}
        self.parent = ModelDeployment.model_validate({**self.parent.to_dict(), "status": plan.status})
        return plan

    def change(self, **spec: Any) -> Plan:
        manifest = self.parent.to_dict()
        self.parent = ModelDeployment.model_validate({**manifest, "spec": {**manifest["spec"], **spec}})
        return self.reconcile()

    def replace_model(self, run: str) -> Plan:
        self.run = run
        return self.reconcile()

    def becomes_ready(self) -> Plan:
        return self._status(1, "NewReplicaSetAvailable", "2026-01-01T00:00:00Z")

    def is_late(self, since: str = "2026-01-01T01:00:00Z") -> Plan:
        return self._status(0, "ProgressDeadlineExceeded", since)

    def _status(self, ready: int, reason: str, since: str) -> Plan:
        condition = {"type": "Progressing", "reason": reason, "lastTransitionTime": since}
        counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": ready}
        self.server["status"] = {"observedGeneration": 1, "conditions": [condition], **counts}
        return self.reconcile()


@pytest.fixture
def cluster(deployment: Builder) -> FakeCluster:
    """A deployment whose first model is served, and whose second is loading."""
    cluster = FakeCluster(deployment())
    cluster.reconcile()
    cluster.becomes_ready()
    cluster.replace_model("two")
    assert cluster.served == "two"
    return cluster


def conditions(plan: Plan) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in plan.status["conditions"]}


def test_a_version_that_is_late_gives_way_to_the_one_before(cluster: FakeCluster) -> None:
    plan = cluster.is_late()

    assert cluster.served == "one"
    assert plan.status["modelPath"] == "runs/one/merged"
    assert [event.reason for event in plan.events] == ["RolledBack"]
    assert conditions(plan) == {
        "Fits": ("Unknown", "SizeUnknown"),
        "Available": ("False", "RolledBack"),
        "Progressing": ("False", "RolledBack"),
        "Reconciling": ("False", "RolledBack"),
        "Stalled": ("True", "RolledBack"),
    }
    again = cluster.becomes_ready()
    assert again.apply == ()
    assert conditions(again)["Available"] == ("True", "Serving")
    assert conditions(again)["Stalled"] == ("True", "RolledBack")
    assert again.status["conditions"][4]["message"].startswith(
        "The server of runs/two/merged was not ready in time; runs/one/merged is served again, and 1 of 1"
    )


def test_it_is_known_without_the_status(cluster: FakeCluster) -> None:
    cluster.is_late()
    before = cluster.becomes_ready()
    cluster.parent = ModelDeployment.model_validate({**cluster.parent.to_dict(), "status": None})
    after = cluster.reconcile()
    assert (after.apply, after.status) == ((), before.status)


@pytest.mark.parametrize(
    ("change", "served"),
    [
        pytest.param({}, "one", id="nothing"),
        pytest.param({"replicas": 2}, "one", id="replicas"),
        pytest.param({"maxModelLen": 1024}, "two", id="the pods"),
        pytest.param({"rollout": {"progressDeadlineSeconds": 9000}}, "two", id="the time"),
        pytest.param({"rollout": {"rollback": False}}, "two", id="no rollback any more"),
    ],
)
def test_what_makes_it_be_tried_again(cluster: FakeCluster, change: dict[str, Any], served: str) -> None:
    cluster.is_late()
    cluster.becomes_ready()
    cluster.change(**change)
    assert cluster.served == served


def test_the_next_version_starts_from_the_one_that_was_available(cluster: FakeCluster) -> None:
    cluster.is_late()
    cluster.replace_model("three")
    assert cluster.served == "three"
    cluster.is_late("2026-01-01T02:00:00Z")
    assert cluster.served == "one"


def test_a_version_replaced_while_it_loads_is_no_version_to_go_back_to(cluster: FakeCluster) -> None:
    cluster.server["status"]["observedGeneration"] = 0
    cluster.replace_model("three")
    cluster.is_late()
    assert cluster.served == "one"


def test_a_verdict_on_the_version_before_is_none_on_this_one(cluster: FakeCluster) -> None:
    cluster.is_late("2026-01-01T01:00:00Z")
    cluster.replace_model("three")
    cluster.is_late("2026-01-01T01:00:00Z")
    assert cluster.served == "three"


def test_without_a_version_to_go_back_to_it_stays(deployment: Builder) -> None:
    cluster = FakeCluster(deployment())
    cluster.reconcile()
    plan = cluster.is_late()
    assert plan.apply == ()
    assert conditions(plan)["Stalled"] == ("True", "NotReadyInTime")


def test_no_rollback_unless_wanted(deployment: Builder) -> None:
    cluster = FakeCluster(deployment(rollout={"rollback": False}))
    cluster.reconcile()
    cluster.becomes_ready()
    cluster.replace_model("two")
    assert conditions(cluster.is_late())["Stalled"] == ("True", "NotReadyInTime")
    assert cluster.served == "two"


@pytest.mark.parametrize("annotation", ["", "{", "[]", "{}", '{"newest": {}, "fallback": null}', "null"])
def test_an_annotation_that_says_nothing_is_none(annotation: str) -> None:
    assert Rollout.parse(annotation) is None


HAPPENINGS = st.lists(st.sampled_from(["ready", "late", "replace", "change", "scale"]), max_size=12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(happenings=HAPPENINGS)
def test_it_comes_to_rest_after_whatever_happens(deployment: Builder, happenings: list[str]) -> None:
    cluster = FakeCluster(deployment())
    cluster.reconcile()
    for hour, happening in enumerate(happenings):
        match happening:
            case "ready":
                cluster.becomes_ready()
            case "late":
                cluster.is_late(f"2026-01-01T{hour:02}:00:00Z")
            case "replace":
                cluster.replace_model(f"at-{hour}")
            case "change":
                cluster.change(maxModelLen=1024 + hour)
            case "scale":
                cluster.change(replicas=1 + hour % 2)
        before = cluster.reconcile()
        cluster.parent = ModelDeployment.model_validate({**cluster.parent.to_dict(), "status": None})
        after = cluster.reconcile()
        assert (before.apply, after.apply, after.status) == ((), (), before.status)
