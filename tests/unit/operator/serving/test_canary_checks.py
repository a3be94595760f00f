"""What a canary has to reach, what is asked of it and not known, and whatever happens to it."""

from collections.abc import Callable

import pytest
from canary_cluster import FakeCluster, at_first_step, cluster_of, conditions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.objects import Manifest
from finetune_operator.core.termination import Termination
from finetune_operator.serving.server_requests import ServerRequests

Builder = Callable[..., ModelDeployment]


@pytest.fixture
def cluster(deployment: Builder) -> FakeCluster:
    return cluster_of(deployment)


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
