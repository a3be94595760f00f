"""A new version tried beside the one that serves: by steps, promoted or given up, and remembered."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import observing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.conditions import timestamp
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.http_route import ObservedRoute
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.outcome import Outcome
from finetune_operator.core.plan import Plan
from finetune_operator.core.termination import Termination
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile
from finetune_operator.serving.server_requests import ServerRequests

Builder = Callable[..., ModelDeployment]
START = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = Config(has_http_routes=True)
GATEWAY = [{"name": "public", "namespace": "gateways"}]


def rollout(**canary: Any) -> Manifest:
    return {"canary": {"parentRefs": GATEWAY, "weights": [10, 50], "intervalSeconds": 60, **canary}}


class FakeCluster:
    """Holds one deployment's children; a test says what controllers and Gateways make of them."""

    def __init__(self, parent: ModelDeployment) -> None:
        self.parent = parent
        self.children: dict[Ref, Manifest] = {}
        self.run = "one"
        self.now = START
        self.requests: dict[str, ServerRequests] = {}
        self.evaluated = False
        self.crash: Termination | None = None

    def child(self, kind: str, name: str = "faq") -> Manifest | None:
        found = (c for ref, c in self.children.items() if (ref.kind, ref.name) == (kind, name))
        return next(found, None)

    def served(self, name: str = "faq") -> str:
        server = self.child("Deployment", name)
        assert server is not None
        (container,) = server["spec"]["template"]["spec"]["containers"]
        return str(container["args"][1]).split("/")[3]

    @property
    def weights(self) -> dict[str, int]:
        route = self.child("HTTPRoute")
        assert route is not None
        seen = observe(route)
        assert isinstance(seen, ObservedRoute)
        return dict(seen.weights)

    @property
    def names(self) -> set[tuple[str, str]]:
        return {(ref.kind, ref.name) for ref in self.children}

    def reconcile(self) -> Plan:
        children = observing.children(self.children.values())
        servers = {ref.name: c for ref, c in children.items() if isinstance(c, ObservedDeployment)}
        canary = servers.get("faq-canary")
        if canary and self.crash:
            canary = replace(canary, pods=(observing.failed_pod(self.crash, restarts=3),))
        path = f"runs/{self.run}/merged"
        job = Outcome(claim="shared", model_path=path, complete=True, evaluated=self.evaluated)
        observed = Observed(
            children=children,
            jobs={"faq": job},
            deployment=servers.get("faq"),
            canary=canary,
            route=next((c for c in children.values() if isinstance(c, ObservedRoute)), None),
            requests=self.requests,
        )
        plan = reconcile(self.parent, observed, self.now, CONFIG)
        for child in plan.apply:
            self._apply(child)
        for ref in plan.delete:
            del self.children[ref]
        self.parent = ModelDeployment.model_validate({**self.parent.to_dict(), "status": plan.status})
        return plan

    def _apply(self, child: Manifest) -> None:
        before = self.children.get(Ref.of(child), {})
        is_same = before.get("spec") == child.get("spec")
        generation = before.get("metadata", {}).get("generation", 0) + (0 if is_same else 1)
        metadata = {**child["metadata"], "generation": generation}
        self.children[Ref.of(child)] = {**child, "metadata": metadata, "status": before.get("status", {})}

    def change(self, **spec: Any) -> Plan:
        manifest = self.parent.to_dict()
        self.parent = ModelDeployment.model_validate({**manifest, "spec": {**manifest["spec"], **spec}})
        return self.reconcile()

    def tune(self, run: str) -> Plan:
        self.run = run
        return self.reconcile()

    def ready(self, name: str = "faq", ready: int = 1) -> Plan:
        """The Deployment has rolled its template out; not ready: it is late."""
        server = self.child("Deployment", name)
        assert server is not None
        since = timestamp(self.now)
        reason = "NewReplicaSetAvailable" if ready else "ProgressDeadlineExceeded"
        conditions = [
            {"type": "Progressing", "reason": reason, "lastTransitionTime": since},
            {"type": "Available", "status": "True" if ready else "False", "lastTransitionTime": since},
        ]
        server["status"] = {
            "observedGeneration": server["metadata"]["generation"],
            "conditions": conditions,
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": ready,
        }
        return self.reconcile()

    def gateway_takes_it(self, status: str = "True", message: str = "") -> Plan:
        route = self.child("HTTPRoute")
        assert route is not None
        since = {"lastTransitionTime": timestamp(self.now)}
        said = {"observedGeneration": route["metadata"]["generation"], "message": message, **since}
        conditions = [
            {"type": "Accepted", "status": status, "reason": "Said", **said},
            {"type": "ResolvedRefs", "status": "True", "reason": "Said", **said},
        ]
        route["status"] = {"parents": [{"parentRef": GATEWAY[0], "conditions": conditions}]}
        return self.reconcile()

    def later(self, seconds: float = 60) -> Plan:
        self.now += timedelta(seconds=seconds)
        return self.reconcile()


def conditions(plan: Plan) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in plan.status["conditions"]}


def cluster_of(deployment: Builder, **canary: Any) -> FakeCluster:
    """A first model is served, and a second is tried."""
    cluster = FakeCluster(deployment(rollout=rollout(**canary)))
    cluster.reconcile()
    cluster.ready()
    cluster.gateway_takes_it()
    cluster.tune("two")
    return cluster


@pytest.fixture
def cluster(deployment: Builder) -> FakeCluster:
    return cluster_of(deployment)


def at_first_step(cluster: FakeCluster) -> FakeCluster:
    cluster.ready("faq-canary")
    cluster.gateway_takes_it()
    assert cluster.weights == {"faq": 90, "faq-canary": 10}
    return cluster


def test_the_first_version_is_served_at_once(deployment: Builder) -> None:
    cluster = FakeCluster(deployment(rollout=rollout()))
    cluster.reconcile()
    assert cluster.weights == {"faq": 100}
    assert cluster.child("Deployment", "faq-canary") is None
    assert conditions(cluster.ready())["Available"] == ("True", "Serving")


def test_a_new_version_has_servers_of_its_own_and_no_requests_until_they_generate(
    cluster: FakeCluster,
) -> None:
    plan = cluster.reconcile()
    assert (cluster.served(), cluster.served("faq-canary")) == ("one", "two")
    assert cluster.weights == {"faq": 100}
    assert {("Service", "faq-canary"), ("NetworkPolicy", "faq-canary")} < cluster.names
    canary, stable = cluster.child("Deployment", "faq-canary"), cluster.child("Deployment")
    assert canary is not None
    assert stable is not None
    assert canary["spec"]["selector"] != stable["spec"]["selector"]
    labels = canary["spec"]["template"]["metadata"]["labels"]
    assert canary["spec"]["selector"]["matchLabels"].items() <= labels.items()
    service = cluster.child("Service", "faq-canary")
    assert service is not None
    assert service["spec"]["selector"].items() <= labels.items()
    assert conditions(plan)["Progressing"] == ("True", "Canary")
    assert conditions(plan)["Available"] == ("True", "Serving")
    assert plan.status["canary"] == {
        "modelPath": "runs/two/merged",
        "step": 1,
        "steps": 2,
        "weight": 0,
        "message": "step 1 of 2: 0 of its 1 replicas generate",
    }
    assert plan.status["modelPath"] == "runs/one/merged"


def test_steps_promotion_and_the_end(cluster: FakeCluster) -> None:
    at_first_step(cluster)
    waits = cluster.later(59)
    assert (cluster.weights["faq-canary"], waits.requeue_after) == (10, 1.0)
    assert waits.status["canary"]["message"] == "step 1 of 2: this step lasts until 2026-01-01T00:01:00Z"
    cluster.later(1)
    assert cluster.weights == {"faq": 50, "faq-canary": 50}
    cluster.gateway_takes_it()
    cluster.later()
    assert cluster.weights == {"faq-canary": 100}
    assert cluster.served() == "one"  # until a Gateway has moved all requests
    cluster.gateway_takes_it()
    assert cluster.served() == "two"
    loading = cluster.reconcile()
    assert loading.status["canary"]["message"] == "it takes the place of the version before"
    assert conditions(loading)["Available"] == ("True", "Serving")  # by the canary
    cluster.ready()
    assert cluster.weights == {"faq": 100}
    assert ("Deployment", "faq-canary") in cluster.names  # a Gateway may still ask it
    done = cluster.gateway_takes_it()
    assert not {name for name in cluster.names if name[1] == "faq-canary"}
    assert conditions(cluster.reconcile())["Available"] == ("True", "Serving")
    assert "canary" not in done.status
    assert cluster.reconcile().apply == ()


def test_it_goes_no_further_before_a_gateway_has_taken_its_share(cluster: FakeCluster) -> None:
    cluster.ready("faq-canary")
    plan = cluster.later(3600)
    assert plan.status["canary"]["message"] == "step 1 of 2: no Gateway has taken its share yet"
    cluster.gateway_takes_it()
    assert cluster.weights["faq-canary"] == 10  # the step begins now
    assert cluster.later().status["canary"]["step"] == 2


def test_a_gateway_that_refuses_the_route_is_told(cluster: FakeCluster) -> None:
    cluster.ready("faq-canary")
    plan = cluster.gateway_takes_it("False", "no listener allows it")
    assert "a Gateway refuses the HTTPRoute: no listener allows it" in plan.status["canary"]["message"]


def test_while_none_of_its_servers_generates_it_has_no_requests(cluster: FakeCluster) -> None:
    at_first_step(cluster)
    canary = cluster.child("Deployment", "faq-canary")
    assert canary is not None
    canary["status"] |= {"readyReplicas": 0}
    cluster.later()
    assert cluster.weights == {"faq": 100}
    cluster.ready("faq-canary")
    cluster.gateway_takes_it()
    assert cluster.weights["faq-canary"] == 10
    cluster.later(59)
    assert cluster.weights["faq-canary"] == 10  # its step has begun anew


FAILED = ServerRequests(answered={"/v1/chat/completions": 40.0}, failed={"/v1/chat/completions": 2.0})
SLOW = ServerRequests(answered={"": 10.0}, first_tokens={0.5: 4.0, 5.0: 10.0, float("inf"): 10.0})
CRASH = Termination(exit_code=1, reason="Error", message="no such tensor")


@pytest.mark.parametrize(
    ("analysis", "requests", "why"),
    [
        pytest.param({"maxErrorPercent": 1}, FAILED, "5 % of its requests failed", id="errors"),
        pytest.param({"maxErrorPercent": 5}, FAILED, "", id="as many as may be"),
        pytest.param({"maxErrorPercent": 1, "minRequests": 50}, FAILED, "", id="too few to judge"),
        pytest.param({"maxTimeToFirstTokenSeconds": 2}, SLOW, "their first token within 4.62 s", id="slow"),
        pytest.param({"maxTimeToFirstTokenSeconds": 5}, SLOW, "", id="quick enough"),
    ],
)
def test_its_checks(deployment: Builder, analysis: Manifest, requests: ServerRequests, why: str) -> None:
    cluster = at_first_step(cluster_of(deployment, analysis=analysis))
    cluster.requests = {"pod": requests}
    plan = cluster.reconcile()
    if not why:
        assert conditions(plan)["Progressing"] == ("True", "Canary")
        return
    assert conditions(plan)["Stalled"] == ("True", "CanaryFailed")
    assert why in plan.status["canary"]["message"]
    assert [event.reason for event in plan.events] == ["CanaryFailed"]


def test_a_canary_that_fails_gives_way_and_is_not_tried_again(deployment: Builder) -> None:
    cluster = at_first_step(cluster_of(deployment, analysis={"maxErrorPercent": 1}))
    cluster.requests = {"pod": FAILED}
    cluster.reconcile()
    assert cluster.weights == {"faq": 100}
    cluster.gateway_takes_it()
    cluster.requests = {}
    plan = cluster.later()
    assert cluster.served() == "one"
    assert not {name for name in cluster.names if name[1] == "faq-canary"}
    assert conditions(plan)["Available"] == ("True", "Serving")
    assert plan.status["canary"]["message"] == "5 % of its requests failed, and maxErrorPercent is 1"
    stalled = plan.status["conditions"][4]["message"]
    assert stalled.startswith("The canary of runs/two/merged was given up: 5 % of its requests failed")
    assert cluster.reconcile().apply == ()
    cluster.tune("three")
    assert cluster.served("faq-canary") == "three"


def test_one_that_is_late_or_crashes_gives_way(cluster: FakeCluster) -> None:
    at_first_step(cluster)
    assert conditions(cluster.ready("faq-canary", ready=0))["Stalled"] == ("True", "CanaryFailed")
    cluster.tune("three")
    # Its Deployment repeats the verdict on the one before for a moment.
    canary = cluster.child("Deployment", "faq-canary")
    assert canary is not None
    canary["status"]["observedGeneration"] = canary["metadata"]["generation"]
    assert conditions(cluster.reconcile())["Progressing"] == ("True", "Canary")
    cluster.crash = CRASH
    plan = cluster.reconcile()
    assert "it ends with exit code 1" in plan.status["canary"]["message"]


def test_what_is_asked_of_it_must_be_known(deployment: Builder) -> None:
    cluster = at_first_step(cluster_of(deployment, analysis={"minRequests": 20, "maxErrorPercent": 1}))
    unknown = cluster.later()
    assert "its servers do not tell what they count" in unknown.status["canary"]["message"]
    cluster.requests = {"a": ServerRequests(answered={"": 9.0}), "b": ServerRequests(answered={"": 10.0})}
    few = cluster.reconcile().status["canary"]
    assert (few["requests"], few["errorPercent"]) == (19, 0)
    assert "it has answered 19 of 20 requests" in few["message"]
    cluster.requests["b"] = ServerRequests(answered={"": 11.0})
    cluster.reconcile()
    assert cluster.weights["faq-canary"] == 50


def test_a_model_without_the_evaluation_that_is_asked_for_is_not_tried(deployment: Builder) -> None:
    cluster = cluster_of(deployment, analysis={"requireEvaluation": True})
    plan = cluster.reconcile()
    assert conditions(plan)["Stalled"] == ("True", "FineTuneJobNotEvaluated")
    assert cluster.child("Deployment", "faq-canary") is None
    cluster.evaluated = True
    cluster.reconcile()
    assert cluster.served("faq-canary") == "two"


def test_another_change_meanwhile_begins_anew(cluster: FakeCluster) -> None:
    at_first_step(cluster)
    cluster.later()
    assert cluster.weights["faq-canary"] == 50
    cluster.tune("three")
    cluster.reconcile()
    assert cluster.weights == {"faq": 100}
    assert (cluster.served(), cluster.served("faq-canary")) == ("one", "three")
    at_first_step(cluster)


def test_back_to_what_is_served_ends_it(cluster: FakeCluster) -> None:
    at_first_step(cluster)
    cluster.tune("one")
    assert cluster.weights == {"faq": 100}
    plan = cluster.gateway_takes_it()
    assert cluster.child("Deployment", "faq-canary") is None
    assert conditions(plan)["Available"] == ("True", "Serving")


def test_without_the_field_it_takes_its_place_at_once(cluster: FakeCluster) -> None:
    at_first_step(cluster)
    cluster.change(rollout={})
    assert cluster.served() == "two"
    assert not {kind for kind, name in cluster.names if name == "faq-canary" or kind == "HTTPRoute"}


def test_a_version_that_cannot_take_the_place_gives_way(cluster: FakeCluster) -> None:
    at_first_step(cluster)
    for _ in range(2):
        cluster.later()
        cluster.gateway_takes_it()
    assert cluster.served() == "two"
    cluster.later()
    plan = cluster.ready(ready=0)
    assert conditions(plan)["Stalled"] == ("True", "RolledBack")
    assert cluster.served() == "one"
    assert cluster.weights == {"faq-canary": 100}  # nobody else answers
    cluster.ready()
    assert cluster.weights == {"faq": 100}
    cluster.gateway_takes_it()
    assert cluster.child("Deployment", "faq-canary") is None


def test_several_replicas_are_replaced_behind_the_last_share(deployment: Builder) -> None:
    cluster = cluster_of(deployment)
    cluster.change(replicas=4)
    at_first_step(cluster)
    for _ in range(2):
        cluster.later()
        cluster.gateway_takes_it()
    assert cluster.weights == {"faq": 50, "faq-canary": 50}
    assert cluster.served() == "two"


def test_a_child_that_somebody_changes_is_changed_back(cluster: FakeCluster) -> None:
    at_first_step(cluster)
    route, policy = cluster.child("HTTPRoute"), cluster.child("NetworkPolicy", "faq-canary")
    assert route is not None
    assert policy is not None
    route["spec"]["rules"][0]["backendRefs"][1]["weight"] = 90
    policy["spec"]["ingress"] = [{}]
    changed = {(child["kind"], child["metadata"]["name"]) for child in cluster.reconcile().apply}
    assert changed == {("HTTPRoute", "faq"), ("NetworkPolicy", "faq-canary")}
    assert cluster.weights["faq-canary"] == 10


def test_without_the_api_it_is_refused_and_says_what_to_install(deployment: Builder) -> None:
    plan = reconcile(
        deployment(rollout=rollout()),
        Observed(jobs={"faq": Outcome(claim="shared", model_path="one", complete=True)}),
        START,
        Config(),
    )
    assert conditions(plan)["Stalled"] == ("True", "HTTPRouteNotInstalled")
    assert not {"Deployment", "HTTPRoute"} & {child["kind"] for child in plan.apply}


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        pytest.param({"rollout": rollout(parentRefs=[])}, "parentRefs", id="no Gateway"),
        pytest.param({"rollout": rollout(weights=[10, 10])}, "weights", id="a share twice"),
        pytest.param({"rollout": rollout(weights=[100])}, "weights", id="all of them"),
        pytest.param({"rollout": rollout(hostnames=["https://a.b"])}, "hostnames", id="a URL"),
        pytest.param({"rollout": {**rollout(), "rollback": False}}, "canary that fails", id="no rollback"),
        pytest.param(
            {"rollout": rollout(), "nodes": 2, "tensorParallelSize": 2}, "several nodes", id="nodes"
        ),
    ],
)
def test_what_is_refused(deployment: Builder, spec: Manifest, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        deployment(**spec)


HAPPENINGS = st.lists(
    st.sampled_from(["ready", "canary", "late", "takes", "later", "tune", "fail", "scale"]), max_size=16
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(happenings=HAPPENINGS)
def test_whatever_happens_somebody_answers_and_it_comes_to_rest(
    deployment: Builder, happenings: list[str]
) -> None:
    cluster = cluster_of(deployment, analysis={"maxErrorPercent": 1})
    for number, happening in enumerate(happenings):
        canary = cluster.child("Deployment", "faq-canary")
        match happening:
            case "ready":
                cluster.ready()
            case "canary" if canary:
                cluster.ready("faq-canary")
            case "late" if canary:
                cluster.ready("faq-canary", ready=0)
            case "takes":
                cluster.gateway_takes_it()
            case "later":
                cluster.later()
            case "tune":
                cluster.tune(f"at-{number}")
            case "fail":
                cluster.requests = {"pod": FAILED} if not cluster.requests else {}
            case "scale":
                cluster.change(replicas=1 + number % 2)
        for _ in range(4):
            before = cluster.reconcile()
        named = set(cluster.weights)
        assert sum(cluster.weights.values()) == 100
        assert {("Deployment", name) for name in named} <= cluster.names
        cluster.parent = ModelDeployment.model_validate({**cluster.parent.to_dict(), "status": None})
        after = cluster.reconcile()
        assert (before.apply, after.apply) == ((), ())
        assert (conditions(after), after.status.get("canary")) == (
            conditions(before),
            before.status.get("canary"),
        )
