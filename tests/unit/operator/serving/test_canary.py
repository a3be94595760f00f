"""A new version tried beside the one that serves: by steps, promoted or given up, and remembered."""

from collections.abc import Callable

import pytest
from canary_cluster import START, FakeCluster, at_first_step, cluster_of, conditions, rollout
from pydantic import ValidationError

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.core.outcome import Outcome
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile

Builder = Callable[..., ModelDeployment]


@pytest.fixture
def cluster(deployment: Builder) -> FakeCluster:
    return cluster_of(deployment)


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
