"""Pods made from a template, and how they are, as the controllers ask it."""

from finetune_operator.core.objects import Manifest, Ref


def pod_of(
    owner: Manifest, name: str, labels: dict[str, str], annotations: dict[str, str] | None = None
) -> Manifest:
    """Return a pod of the owner's template."""
    template, metadata = owner["spec"]["template"], owner["metadata"]
    owner_reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {**template["metadata"].get("labels", {}), **labels},
            "annotations": {**template["metadata"].get("annotations", {}), **(annotations or {})},
            "ownerReferences": [owner_reference],
        },
        "spec": template["spec"],
    }


def pod_ref(namespace: str, name: str) -> Ref:
    """Return the reference to a pod."""
    return Ref(api_version="v1", kind="Pod", namespace=namespace, name=name)


def pod_phase(pod: Manifest) -> str:
    """Return Pending, Running, Succeeded or Failed."""
    return str(pod.get("status", {}).get("phase", "Pending"))


def is_ready(pod: Manifest) -> bool:
    """Return whether the pod's container is ready."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return bool(statuses) and all(status["ready"] for status in statuses)


def exit_code_of(pod: Manifest) -> int | None:
    """Return the exit code of the pod's container, or None while it runs."""
    for status in pod.get("status", {}).get("containerStatuses", []):
        if "terminated" in status["state"]:
            return int(status["state"]["terminated"]["exitCode"])
    return None
