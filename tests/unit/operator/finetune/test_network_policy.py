"""Who reaches the pods of a run, and whom they reach."""

from typing import Any

import pytest
from fake_cluster import JobBuilder

from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.children.network_policy import desired_network_policies

OPERATOR = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "finetune-operator"}}}
PODS = {"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "faq", "finetune.dev/run": "r"}}}
DNS = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def policies(job: JobBuilder, config: Config | None = None, **spec: Any) -> list[Manifest]:
    parent = job(**spec)
    return [
        policy["spec"]
        for policy in desired_network_policies(parent, names_of(parent, "r"), config or Config())
    ]


def test_pods_of_a_run_reach_each_other_and_the_operator_their_progress(job: JobBuilder) -> None:
    (spec,) = policies(job, Config(progress_from=(OPERATOR,)))
    assert spec == {
        **PODS,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [PODS]},
            {"from": [OPERATOR], "ports": [{"port": 9400, "protocol": "TCP"}]},
        ],
        "egress": [{"to": [PODS]}, DNS],
    }


@pytest.mark.parametrize(
    ("spec", "stages"),
    [
        pytest.param({}, None, id="all in the volume"),
        pytest.param({"model": {"uri": "hf://a/b"}}, ["prepare"], id="a hub"),
        pytest.param({"dataset": {"uri": "s3://bucket/x"}}, ["prepare"], id="a bucket"),
        pytest.param(
            {"dataset": {"uri": None, "sources": [{"uri": "a"}, {"uri": "hf://a/b"}]}},
            ["prepare"],
            id="one of several",
        ),
        pytest.param({"export": {"push": {"uri": "s3://bucket/x"}}}, ["push"], id="a push"),
        pytest.param(
            {"training": {"steps": 1, "overrides": {"metrics.enable_wandb": True}}}, ["train"], id="W&B"
        ),
        pytest.param({"tracking": {"wandb": {}}}, ["train"], id="W&B, tracked"),
        pytest.param({"tracking": {"mlflow": {"uri": "http://mlflow:5000"}}}, ["train"], id="MLflow"),
        pytest.param({"tracking": {"trackio": {}}}, ["train"], id="trackio"),
        pytest.param({"tracking": {"tensorboard": {}, "wandb": {"offline": True}}}, None, id="in the volume"),
        pytest.param(
            {"model": {"uri": "hf://a/b"}, "export": {"push": {"uri": "hf://a/c"}}},
            ["prepare", "push"],
            id="both ways",
        ),
    ],
)
def test_only_stages_that_fetch_or_send_reach_other_hosts(
    job: JobBuilder, spec: dict[str, Any], stages: list[str] | None
) -> None:
    _, *outward = policies(job, **spec)
    wanted = {
        "podSelector": {
            **PODS["podSelector"],
            "matchExpressions": [{"key": "app.kubernetes.io/component", "operator": "In", "values": stages}],
        },
        "policyTypes": ["Egress"],
        "egress": [{}],
    }
    assert outward == ([wanted] if stages else [])
