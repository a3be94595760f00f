"""The autoscaler of a deployment: as asked for, one at a time, and gone with its field."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from serving_plans import CONFIG, NOW, READY

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.child import ObservedChild
from finetune_operator.core.plan import Plan
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile

Builder = Callable[..., ModelDeployment]
INSTALLED = replace(CONFIG, has_scaled_objects=True, has_leader_worker_sets=True)
HPA, SCALED_OBJECT = (
    Ref(api_version=version, kind=kind, namespace="default", name="faq")
    for version, kind in (
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("keda.sh/v1alpha1", "ScaledObject"),
    )
)
TARGET = {"apiVersion": "finetune.dev/v1alpha1", "kind": "ModelDeployment", "name": "faq"}
BY_PODS: dict[str, Any] = {"maxReplicas": 2}
ADDRESS = "http://prometheus.monitoring:9090"
BY_PROMETHEUS: dict[str, Any] = {"maxReplicas": 4, "prometheus": {"serverAddress": ADDRESS}}
WAKE = "sum(gateway_requests_open)"
TO_NONE: dict[str, Any] = {
    "minReplicas": 0,
    "maxReplicas": 4,
    "waitingRequests": 8,
    "keptSeconds": 900,
    "prometheus": {"serverAddress": ADDRESS, "wakeQuery": WAKE},
}
PODS = 'namespace="default",pod=~"faq-[a-z0-9]+(-[a-z0-9]+)?"'


def plan(parent: ModelDeployment, *there: Ref, config: Config = INSTALLED) -> Plan:
    children = {ref: ObservedChild(ref=ref, uid="u-3") for ref in there}
    return reconcile(parent, Observed(jobs={"faq": READY}, children=children), NOW, config)


def autoscalers(plan: Plan) -> dict[str, Manifest]:
    return {each["kind"]: each for each in plan.apply if each["kind"] in (HPA.kind, SCALED_OBJECT.kind)}


def trigger(name: str, query: str, threshold: str) -> Manifest:
    metadata = {"serverAddress": ADDRESS, "query": query, "threshold": threshold}
    return {"type": "prometheus", "name": name, "metadata": metadata}


@pytest.mark.parametrize(
    ("autoscaling", "kind", "spec"),
    [
        pytest.param(
            {"minReplicas": 2, "maxReplicas": 4, "waitingRequests": 8, "keptSeconds": 60},
            HPA.kind,
            {
                "minReplicas": 2,
                "maxReplicas": 4,
                "metrics": [
                    {
                        "type": "Pods",
                        "pods": {
                            "metric": {"name": "vllm:num_requests_waiting"},
                            "target": {"type": "AverageValue", "averageValue": "8"},
                        },
                    }
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
            },
            id="by pods",
        ),
        pytest.param(
            BY_PROMETHEUS,
            SCALED_OBJECT.kind,
            {
                "minReplicaCount": 1,
                "maxReplicaCount": 4,
                "advanced": {
                    "horizontalPodAutoscalerConfig": {
                        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}}
                    }
                },
                "triggers": [trigger("waiting", f"sum(vllm:num_requests_waiting{{{PODS}}})", "4")],
            },
            id="by Prometheus",
        ),
        pytest.param(
            TO_NONE,
            SCALED_OBJECT.kind,
            {
                "minReplicaCount": 0,
                "maxReplicaCount": 4,
                "cooldownPeriod": 900,
                "initialCooldownPeriod": 900,
                "advanced": {
                    "horizontalPodAutoscalerConfig": {
                        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 900}}
                    }
                },
                "triggers": [
                    trigger("waiting", f"sum(vllm:num_requests_waiting{{{PODS}}})", "8"),
                    trigger("running", f"sum(vllm:num_requests_running{{{PODS}}})", "1000000000"),
                    trigger("wake", WAKE, "1000000000"),
                ],
            },
            id="to none",
        ),
    ],
)
def test_it_scales_the_deployment(
    deployment: Builder, autoscaling: dict[str, Any], kind: str, spec: Manifest
) -> None:
    made = autoscalers(plan(deployment(autoscaling=autoscaling)))
    assert made.keys() == {kind}
    assert made[kind]["metadata"]["name"] == "faq"
    assert made[kind]["spec"] == {"scaleTargetRef": TARGET, **spec}


def test_it_shows_its_credentials(deployment: Builder) -> None:
    reference = {"name": "monitoring", "kind": "ClusterTriggerAuthentication"}
    asked = {"serverAddress": ADDRESS, "authenticationRef": reference, "authModes": ["bearer", "tls"]}
    made = autoscalers(plan(deployment(autoscaling={"maxReplicas": 2, "prometheus": asked})))
    (shown,) = made[SCALED_OBJECT.kind]["spec"]["triggers"]
    assert (shown["authenticationRef"], shown["metadata"]["authModes"]) == (reference, "bearer,tls")


def test_of_several_nodes_the_leaders_count(deployment: Builder) -> None:
    spec = {"nodes": 2, "tensorParallelSize": 16, "autoscaling": BY_PROMETHEUS}
    (asked,) = autoscalers(plan(deployment(**spec)))[SCALED_OBJECT.kind]["spec"]["triggers"]
    assert 'pod=~"faq-nodes-[0-9]+"' in asked["metadata"]["query"]


@pytest.mark.parametrize(
    ("autoscaling", "there", "made", "deleted"),
    [
        pytest.param(None, [HPA], set(), (HPA,), id="not wanted any more"),
        pytest.param(None, [SCALED_OBJECT], set(), (SCALED_OBJECT,), id="KEDA's not wanted any more"),
        pytest.param(BY_PODS, [HPA], {HPA.kind}, (), id="wanted"),
        pytest.param(BY_PROMETHEUS, [HPA], set(), (HPA,), id="KEDA's waits until the other is gone"),
        pytest.param(BY_PODS, [SCALED_OBJECT], set(), (SCALED_OBJECT,), id="and the other for KEDA's"),
        pytest.param(BY_PROMETHEUS, [], {SCALED_OBJECT.kind}, (), id="nothing in its way"),
    ],
)
def test_one_at_a_time(
    deployment: Builder,
    autoscaling: dict[str, Any] | None,
    there: list[Ref],
    made: set[str],
    deleted: tuple[Ref, ...],
) -> None:
    found = plan(deployment(autoscaling=autoscaling), *there)
    assert (autoscalers(found).keys(), found.delete) == (made, deleted)


def test_without_keda_it_is_refused_and_says_what_to_install(deployment: Builder) -> None:
    refused = plan(deployment(autoscaling=TO_NONE), config=CONFIG)
    (stalled,) = (each for each in refused.status["conditions"] if each["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "KedaNotInstalled")
    assert stalled["message"] == (
        "autoscaling.prometheus is KEDA's to ask, and this cluster has no keda.sh/v1alpha1: install KEDA "
        "(https://keda.sh), or remove autoscaling.prometheus, and a HorizontalPodAutoscaler scales"
    )
    assert not {"Deployment", SCALED_OBJECT.kind} & {child["kind"] for child in refused.apply}
