"""The autoscaler of a deployment: as asked for, and gone with its field."""

from collections.abc import Callable

import pytest
from serving_plans import READY, plan

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.objects import Ref
from finetune_operator.core.observed.child import ObservedChild

Builder = Callable[..., ModelDeployment]
REF = Ref(api_version="autoscaling/v2", kind="HorizontalPodAutoscaler", namespace="default", name="faq")


def test_it_scales_the_deployment_by_the_requests_that_wait(deployment: Builder) -> None:
    autoscaling = {"minReplicas": 2, "maxReplicas": 4, "waitingRequests": 8}
    (made,) = (
        child
        for child in plan(deployment(autoscaling=autoscaling), READY).apply
        if child["kind"] == "HorizontalPodAutoscaler"
    )
    assert made["metadata"]["name"] == "faq"
    assert made["spec"] == {
        "scaleTargetRef": {"apiVersion": "finetune.dev/v1alpha1", "kind": "ModelDeployment", "name": "faq"},
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
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
    }


@pytest.mark.parametrize(
    ("spec", "deleted"),
    [
        pytest.param({}, (REF,), id="not wanted any more"),
        pytest.param({"autoscaling": {"maxReplicas": 2}}, (), id="wanted"),
    ],
)
def test_it_goes_with_its_field(deployment: Builder, spec: dict[str, object], deleted: tuple[Ref]) -> None:
    children = {REF: ObservedChild(ref=REF, uid="u-3")}
    assert plan(deployment(**spec), READY, children=children).delete == deleted
