"""What a ModelDeployment refuses."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.field_errors import field_errors

Build = Callable[..., dict[str, Any]]


ADDRESS = {"serverAddress": "http://prometheus.monitoring:9090"}
WAKE = {"wakeQuery": "sum(gateway_requests_open)"}
IMAGE = {"uri": "oci://registry.example/models/faq:v1"}


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        pytest.param({}, [], id="of-a-job"),
        pytest.param({"model": {"uri": "m"}, "storage": {"claimName": "a"}}, [], id="of-a-folder"),
        pytest.param({"device": "cpu", "tensorParallelSize": 2}, [], id="on-a-cpu"),
        pytest.param({"model": {}}, ["spec.model"], id="no-model"),
        pytest.param(
            {"model": {"uri": "m", "fineTuneJobRef": {"name": "j"}}}, ["spec.model"], id="two-models"
        ),
        pytest.param({"model": {"uri": "m"}}, ["spec.storage"], id="folder-without-a-volume"),
        pytest.param({"storage": {"claimName": "a"}}, ["spec.storage"], id="volume-beside-a-job"),
        pytest.param({"model": {"uri": "m"}, "storage": {"size": "1Ti"}}, ["spec.storage"], id="new-volume"),
        pytest.param({"model": IMAGE}, [], id="of-an-image"),
        pytest.param({"model": {"uri": "oci://host/a"}}, ["spec.model.uri"], id="image-without-a-tag"),
        pytest.param(
            {"model": IMAGE, "storage": {"claimName": "a"}}, ["spec.storage"], id="image-in-a-volume"
        ),
        pytest.param(
            {"model": IMAGE, "adapters": [{"name": "a", "uri": "b"}]},
            ["spec.adapters"],
            id="image-and-adapter",
        ),
        pytest.param({"gpus": 4}, ["spec.gpus"], id="gpus"),
        pytest.param({"loadFormat": "instanttensor"}, [], id="load-format"),
        pytest.param({"loadFormat": "InstantTensor"}, ["spec.loadFormat"], id="load-format-of-another-case"),
        pytest.param({"loadFormat": "tensorizer"}, ["spec.loadFormat"], id="load-format-of-vllm-not-ours"),
        pytest.param({"loadFormat": "safetensors", "device": "cpu"}, [], id="load-format-of-a-cpu"),
        *(
            pytest.param({"loadFormat": name, "device": "cpu"}, ["spec.loadFormat"], id=f"{name}-on-a-cpu")
            for name in ("fastsafetensors", "instanttensor", "runai_streamer")
        ),
        pytest.param({"device": "cpu", "gpus": 1}, ["spec.gpus"], id="gpus-of-a-cpu"),
        pytest.param(
            {"model": {"uri": "hf://a/b"}, "storage": {"claimName": "c"}},
            ["spec.model.uri"],
            id="served-from-the-hub",
        ),
        pytest.param(
            {"adapters": [{"name": "a", "uri": "s3://b/c"}]},
            ["spec.adapters[0].uri"],
            id="adapter-in-a-bucket",
        ),
        pytest.param({"rollout": {"maxSurge": 1, "maxUnavailable": 0}}, [], id="one-pod-more"),
        pytest.param({"autoscaling": {"maxReplicas": 4}}, [], id="autoscaled"),
        pytest.param(
            {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
            ["spec.autoscaling.maxReplicas"],
            id="fewer-at-most-than-at-least",
        ),
        *(
            pytest.param({"autoscaling": {"maxReplicas": 2, **spec}}, fields, id=name)
            for name, spec, fields in (
                ("by-prometheus", {"prometheus": ADDRESS}, []),
                ("to-none", {"minReplicas": 0, "prometheus": ADDRESS | WAKE}, []),
                ("to-none-by-kubernetes-own", {"minReplicas": 0}, ["spec.autoscaling.minReplicas"]),
                (
                    "to-none-and-nothing-wakes-it",
                    {"minReplicas": 0, "prometheus": ADDRESS},
                    ["spec.autoscaling.prometheus.wakeQuery"],
                ),
                (
                    "woken-though-it-never-sleeps",
                    {"prometheus": ADDRESS | WAKE},
                    ["spec.autoscaling.prometheus.wakeQuery"],
                ),
                ("no-address", {"prometheus": {}}, ["spec.autoscaling.prometheus.serverAddress"]),
                (
                    "address-with-a-password",
                    {"prometheus": {"serverAddress": "http://me:pw@prometheus:9090"}},
                    ["spec.autoscaling.prometheus.serverAddress"],
                ),
                (
                    "credentials",
                    {"prometheus": {**ADDRESS, "authenticationRef": {"name": "a"}, "authModes": ["bearer"]}},
                    [],
                ),
                (
                    "credentials-of-nobody",
                    {"prometheus": {**ADDRESS, "authModes": ["bearer"]}},
                    ["spec.autoscaling.prometheus.authModes"],
                ),
                ("kept-longer-than-kubernetes-does", {"keptSeconds": 3601}, ["spec.autoscaling.keptSeconds"]),
            )
        ),
        pytest.param({"autoscaling": {}}, ["spec.autoscaling.maxReplicas"], id="no-end-to-scaling"),
        pytest.param(
            {"rollout": {"maxSurge": "0%", "maxUnavailable": 0}},
            ["spec.rollout.maxUnavailable"],
            id="no-pod-can-be-replaced",
        ),
        pytest.param(
            {"adapters": [{"name": "a", "fineTuneJobRef": {"name": "j"}}, {"name": "b", "uri": "c"}]},
            [],
            id="adapters",
        ),
        pytest.param({"adapters": [{"name": "a"}]}, ["spec.adapters[0]"], id="no-adapter"),
        pytest.param({"adapters": 2 * [{"name": "a", "uri": "b"}]}, ["spec.adapters"], id="adapter-twice"),
        pytest.param({"engineArgs": ["--trust-request-chat-template"]}, [], id="other-trust"),
        pytest.param({"engineArgs": ["-O3", "--trust_remote_code=true"]}, ["spec.engineArgs"], id="code"),
        pytest.param(
            {"engineArgs": ["--trust-rem"], "trustRemoteCode": True}, ["spec.engineArgs"], id="twice"
        ),
    ],
)
def test_blames_the_field_of_a_broken_rule(
    deployment: Build, spec: dict[str, Any], fields: list[str]
) -> None:
    errors = field_errors(ModelDeployment, deployment(**spec))
    assert [str(error).split(":")[0] for error in errors] == fields
