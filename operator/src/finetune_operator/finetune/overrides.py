"""What a user set on the pods of one stage: stageOverrides on top of workers.podOverrides."""

import re
from collections.abc import Iterable
from typing import Any

from finetune_operator.api.base import RULES_OBEYED
from finetune_operator.api.job import FineTuneJobSpec
from finetune_operator.api.pod_overrides import PodOverrides
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.stages import ON_GPUS, Stage

# Lists whose items have a name: an item of the stage's takes the place of one with the same.
_KEYS = {
    "env": "name",
    "imagePullSecrets": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "initContainers": "name",
    "hostAliases": "ip",
}
# What is meant for nodes with GPUs, by a label's or a taint's name: nvidia.com/gpu.product, sku=gpu.
_OF_GPUS = re.compile(
    r"gpu|accelerator|nvidia|amd\.com|gaudi|rdma|infiniband|amazonaws\.com/efa", re.IGNORECASE
)
# Further networks of a pod: Multus', and GKE's, with the devices that go with them.
_NETWORKS = re.compile(r"^(k8s\.v1\.cni\.cncf\.io/|networking\.gke\.io/|devices\.gke\.io/)")


def overrides_of(spec: FineTuneJobSpec, stage: Stage) -> PodOverrides:
    """Return the overrides of a stage's pods.

    Of workers.podOverrides what is for GPUs is for the stages on GPUs, and its resources are training's.
    """
    name = "merge" if stage is Stage.MERGE_SHARDS else stage.value
    own: PodOverrides | None = {str(key): value for key, value in spec.stage_overrides.items()}.get(name)
    if stage is Stage.TRAIN and own is None:
        return spec.workers.pod_overrides
    base = spec.workers.pod_overrides.to_dict()
    if stage is Stage.EVALUATE:
        base = _on_one_node(base)
    if stage not in ON_GPUS:
        devices = {spec.workers.gpu_resource_name, spec.workers.rdma_resource_name}
        base = _without_gpus(base, devices - {None})
    merged = _merged(base, own.to_dict()) if own else base
    return PodOverrides.model_validate(merged, context=RULES_OBEYED)


def _on_one_node(base: Manifest) -> Manifest:
    """Return the overrides without what only pods on several nodes need, and without training's resources."""
    kept = {key: value for key, value in base.items() if key not in ("resources", "hostNetwork")}
    return {**kept, "annotations": _without_networks(base["annotations"])}


def _without_networks(annotations: Manifest) -> Manifest:
    return {name: value for name, value in annotations.items() if not _NETWORKS.match(name)}


def _without_gpus(base: Manifest, devices: Iterable[str | None]) -> Manifest:
    """Return the overrides without what only nodes with GPUs have."""
    given = {key: value for key, value in base.items() if key not in _OF_TRAINING_ALONE}

    def is_of_gpus(toleration: Manifest) -> bool:
        key, value = toleration.get("key", ""), toleration.get("value", "")
        return key in set(devices) or bool(_OF_GPUS.search(f"{key}={value}"))

    kept = {
        "nodeSelector": {k: v for k, v in base["nodeSelector"].items() if not _OF_GPUS.search(f"{k}={v}")},
        "annotations": _without_networks(base["annotations"]),
        "tolerations": [each for each in base["tolerations"] if not is_of_gpus(each)],
    }
    if affinity := base.get("affinity"):
        nodes = affinity.get("nodeAffinity")
        rest = {key: value for key, value in affinity.items() if key != "nodeAffinity"}
        kept["affinity"] = rest if nodes and _OF_GPUS.search(str(nodes)) else affinity
    return {**given, **kept}


_OF_TRAINING_ALONE = ("resources", "runtimeClassName", "hostNetwork")


def _merged(base: Manifest, own: Manifest) -> Manifest:
    """Return both together; where they meet, the stage's own wins. What is empty or false says nothing."""
    merged = dict(base)
    for field, value in own.items():
        if value not in ({}, [], False):
            merged[field] = _both(field, base.get(field), value)
    return merged


def _both(field: str, base: Any, own: Any) -> Any:
    if isinstance(own, list) and base:
        key = _KEYS.get(field)
        taken = [each[key] for each in own] if key else own
        return [each for each in base if (each[key] if key else each) not in taken] + own
    if field == "resources" and base:
        return {kind: {**base.get(kind, {}), **own.get(kind, {})} for kind in ("requests", "limits")}
    if isinstance(own, dict) and base:
        return {**base, **own}
    return own
