"""What of a manifest one machine leaves out, and says."""

import copy
from typing import Any

import pytest

from finetune_operator.local.cluster_only import check_models, without_what_only_clusters_have
from finetune_operator.local.errors import LocalError

ADDED: dict[str, Any] = {
    "volumes": [{"name": "box", "emptyDir": {}}],
    "volumeMounts": [{"name": "box", "mountPath": "/mnt/box"}],
    "initContainers": [{"name": "proxy", "image": "acme/proxy:1"}],
}
KEPT = {"env": [{"name": "A", "value": "1"}]}


def test_volumes_and_containers_are_left_out_and_named() -> None:
    spec = {
        "workers": {"podOverrides": {**ADDED, **KEPT}},
        "stageOverrides": {"train": {**ADDED, **KEPT}, "push": {}},
        "deployment": {"podOverrides": {**KEPT, "volumes": ADDED["volumes"]}},
    }
    given = {"kind": "FineTuneJob", "spec": copy.deepcopy(spec)}
    manifest, left_out = without_what_only_clusters_have(given)
    assert manifest["spec"] == {
        "workers": {"podOverrides": KEPT},
        "stageOverrides": {"train": KEPT, "push": {}},
        "deployment": {"podOverrides": KEPT},
    }
    assert left_out == [
        *(f"spec.workers.podOverrides.{field}" for field in ADDED),
        "spec.deployment.podOverrides.volumes",
        *(f"spec.stageOverrides.train.{field}" for field in ADDED),
    ]
    assert given["spec"] == spec


def test_one_machine_is_one_node() -> None:
    job = {"kind": "FineTuneJob", "spec": {"deployment": {"nodes": 2, "replicas": 1}}}
    assert without_what_only_clusters_have(job) == (
        {"kind": "FineTuneJob", "spec": {"deployment": {"replicas": 1}}},
        ["spec.deployment.nodes"],
    )
    server = {"kind": "ModelDeployment", "spec": {"nodes": 2}}
    assert without_what_only_clusters_have(server)[1] == ["spec.nodes"]


def test_one_machine_has_no_gateway() -> None:
    canary = {"parentRefs": [{"name": "public"}]}
    server = {"kind": "ModelDeployment", "spec": {"rollout": {"canary": canary, "maxSurge": 1}}}
    assert without_what_only_clusters_have(server) == (
        {"kind": "ModelDeployment", "spec": {"rollout": {"maxSurge": 1}}},
        ["spec.rollout.canary"],
    )


def test_one_machine_scales_nothing() -> None:
    server = {"replicas": 1, "autoscaling": {"maxReplicas": 2}}
    assert without_what_only_clusters_have({"kind": "FineTuneJob", "spec": {"deployment": server}}) == (
        {"kind": "FineTuneJob", "spec": {"deployment": {"replicas": 1}}},
        ["spec.deployment.autoscaling"],
    )


def test_a_server_of_its_own() -> None:
    manifest = {"kind": "ModelDeployment", "spec": {"podOverrides": dict(ADDED)}}
    assert without_what_only_clusters_have(manifest)[1] == [f"spec.podOverrides.{field}" for field in ADDED]


def test_a_model_that_is_an_image_is_refused() -> None:
    model = {"uri": "oci://registry.example/models/faq:v1"}
    served = {"kind": "ModelDeployment", "metadata": {"name": "faq"}, "spec": {"model": model}}
    with pytest.raises(LocalError, match=r"ModelDeployment faq: spec\.model\.uri is an image"):
        check_models([served])
    check_models([{"kind": "FineTuneJob", "spec": {"model": {"uri": "hf://a/b"}}}])
