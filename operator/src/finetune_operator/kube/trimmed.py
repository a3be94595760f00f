"""What is kept in memory of an object: a thousand finished jobs leave many thousand Jobs and pods."""

from finetune_operator.core.labels import ROLLOUT, SPEC_HASH
from finetune_operator.core.objects import Manifest
from finetune_operator.kube.resources import PARENTS

_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "labels",
    "ownerReferences",
    "deletionTimestamp",
)
_WITH_SPEC = frozenset(parent.kind for parent in PARENTS) | {
    "Deployment",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
}
_POD_CONDITION = ("type", "status", "message")
_CONTAINER = ("name", "restartCount", "state", "lastState")


def trimmed(obj: Manifest) -> Manifest:
    """Return what the operator reads of an object, the spec only of what it keeps as it should be.

    Jobs are made once, and a ConfigMap of ours is immutable.
    """
    kept = {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": _metadata(obj["metadata"]),
        "status": _status(obj),
    }
    return {**kept, "spec": obj["spec"]} if obj["kind"] in _WITH_SPEC else kept


def _metadata(metadata: Manifest) -> Manifest:
    kept = {field: metadata[field] for field in _METADATA if field in metadata}
    annotations = metadata.get("annotations", {})
    ours = {name: annotations[name] for name in (SPEC_HASH, ROLLOUT) if name in annotations}
    return {**kept, "annotations": ours} if ours else kept


def _status(obj: Manifest) -> Manifest:
    status: Manifest = obj.get("status", {})
    if obj["kind"] != "Pod":
        return status
    return {
        "phase": status.get("phase"),
        "podIP": status.get("podIP"),
        "startTime": status.get("startTime"),
        "conditions": [
            {field: each[field] for field in _POD_CONDITION if each.get(field)}
            for each in status.get("conditions", [])
        ],
        "containerStatuses": [
            {field: each[field] for field in _CONTAINER if each.get(field)}
            for each in status.get("containerStatuses", [])
        ],
    }
