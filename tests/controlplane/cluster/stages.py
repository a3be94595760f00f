"""How kwok plays pods and volumes: the Stage objects that stand for a kubelet and a volume provisioner.

Unless a test says otherwise (pods.py), a scheduled pod runs and is ready at once, runs for ever, and when
deleted ends with 143 as the trainer does on SIGTERM.
"""

import json
from typing import Any
from uuid import uuid4

from kubernetes import client, utils
from kubernetes.client.exceptions import ApiException
from waiting import until

GROUP, VERSION, PLURAL = "kwok.x-k8s.io", "v1alpha1", "stages"

# A Stage of weight 0 is played only where no heavier one matches, so that a test's stages win over these.
DEFAULT_WEIGHT, SCRIPTED_WEIGHT = 0, 1

POD = {"apiGroup": "v1", "kind": "Pod"}
NODE = {"apiGroup": "v1", "kind": "Node"}
CLAIM = {"apiGroup": "v1", "kind": "PersistentVolumeClaim"}

STORAGE_CLASS = "shared"
NOW = "{{ Now }}"
# kwok hands out a new address of the pod range (--cidr) at each call: ask once, and keep what the pod has.
POD_IP = "{{ $podIP }}"
_SET_POD_IP = (
    "{{ $podIP := or .status.podIP (PodIPWith .spec.nodeName (or .spec.hostNetwork false)"
    " .metadata.uid .metadata.name .metadata.namespace) }}"
)


def where(path: str, operator: str, *values: str) -> dict[str, Any]:
    """One requirement of a selector: `path` in jq; `operator`: In, NotIn, Exists or DoesNotExist."""
    requirement: dict[str, Any] = {"key": path, "operator": operator}
    if values:
        requirement["values"] = list(values)
    return {"jq": requirement}


ALIVE = where(".metadata.deletionTimestamp", "DoesNotExist")
DELETED = where(".metadata.deletionTimestamp", "Exists")
NOT_STARTED = [where(".status.phase", "In", "Pending"), where(".status.containerStatuses", "DoesNotExist")]
READY = where('.status.conditions.[] | select( .type == "Ready" ) | .status', "In", "True")
NOT_READY = where('.status.conditions.[] | select( .type == "Ready" ) | .status', "In", "False")
ENDED = where(".status.phase", "In", "Succeeded", "Failed")
RUNNING = where(".status.phase", "In", "Running")


def stage(
    name: str,
    resource: dict[str, str],
    requirements: list[dict[str, Any]],
    *steps: dict[str, Any],
    labels: dict[str, str] | None = None,
    after: float = 0,
    weight: int = DEFAULT_WEIGHT,
) -> dict[str, Any]:
    """`after`: seconds between the moment the selector first holds and the steps."""
    selector: dict[str, Any] = {"matchExpressions": requirements}
    if labels:
        selector["matchLabels"] = labels
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": resource,
            "selector": selector,
            "weight": weight,
            "delay": {"durationMilliseconds": int(after * 1000)},
            "steps": list(steps),
        },
    }


def status_step(status: dict[str, Any]) -> dict[str, Any]:
    """Merges `status` into the object's; lists that are `Each` are written for each container of the pod."""
    template = _template(status)
    if POD_IP in template:
        template = _SET_POD_IP + template
    return {"patch": {"root": "status", "subresource": "status", "type": "strategic", "template": template}}


class Each:
    """One status for each container in `field` (containers or initContainers) of the pod's spec."""

    def __init__(self, status: dict[str, Any], field: str = "containers") -> None:
        named = {"name": "{{ $each.name }}", "image": "{{ $each.image }}", "restartCount": 0} | status
        self.loop = (
            f"[{{{{ range $index, $each := .spec.{field} }}}}{{{{ if $index }}}},{{{{ end }}}}"
            f"{json.dumps(named)}{{{{ end }}}}]"
        )


def text(value: str) -> str:
    """Free text in a status: kept from being read as a template."""
    return value.replace("{{", "{{ `{{` }}")


def condition(kind: str, status: bool, reason: str = "") -> dict[str, Any]:
    return {"type": kind, "status": str(status), "reason": reason, "lastTransitionTime": NOW}


def running_status(*, ready: bool) -> dict[str, Any]:
    finished = {"state": terminated(0), "ready": True}
    return {
        "phase": "Running",
        "startTime": NOW,
        "hostIP": "{{ NodeIPWith .spec.nodeName }}",
        "podIP": POD_IP,
        "podIPs": [{"ip": POD_IP}],
        "conditions": [
            condition("PodReadyToStartContainers", True),
            condition("Initialized", True),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ],
        "initContainerStatuses": Each(finished, "initContainers"),
        "containerStatuses": Each(
            {"ready": ready, "started": True, "state": {"running": {"startedAt": NOW}}}
        ),
    }


def ended_status(exit_code: int, *, reason: str = "", message: str = "") -> dict[str, Any]:
    why = reason or ("Completed" if exit_code == 0 else "Error")
    return {
        "phase": "Succeeded" if exit_code == 0 else "Failed",
        "conditions": [
            condition("ContainersReady", False, "PodCompleted" if exit_code == 0 else "PodFailed"),
            condition("Ready", False, "PodCompleted" if exit_code == 0 else "PodFailed"),
        ],
        "containerStatuses": Each(
            {"ready": False, "started": False, "state": terminated(exit_code, why, message)}
        ),
    }


def terminated(exit_code: int, reason: str = "Completed", message: str = "") -> dict[str, Any]:
    """`message` is what a real kubelet reads from the container's termination log."""
    end: dict[str, Any] = {"exitCode": exit_code, "reason": reason, "startedAt": NOW, "finishedAt": NOW}
    return {"terminated": end | ({"message": text(message)} if message else {})}


def _template(value: Any) -> str:
    """JSON, which YAML readers take, with loops in the place of `Each` lists."""
    if isinstance(value, Each):
        return value.loop
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_template(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_template, value)) + "]"
    return json.dumps(value)


DEFAULTS = [
    stage(
        "node-ready",
        NODE,
        [where('.status.conditions.[] | select( .type == "Ready" ) | .status', "NotIn", "True")],
        status_step({"conditions": [condition("Ready", True, "KubeletReady") | {"lastHeartbeatTime": NOW}]}),
    ),
    stage("pod-run", POD, [ALIVE, *NOT_STARTED], status_step(running_status(ready=True))),
    # A kubelet reports the end of a deleted pod's containers before it removes the pod; Jobs count on it.
    stage(
        "pod-terminate",
        POD,
        [DELETED, where(".status.phase", "In", "Pending", "Running")],
        status_step(ended_status(143)),
    ),
    stage("pod-remove", POD, [DELETED, ENDED], {"delete": True}),
    stage(
        "claim-provision",
        CLAIM,
        [
            ALIVE,
            where(".spec.storageClassName", "In", STORAGE_CLASS),
            where(".spec.volumeName", "DoesNotExist"),
        ],
        {"apply": {"type": "apply", "template": json.dumps({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "pvc-{{ .metadata.uid }}"},
            "spec": {
                "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
                "capacity": {"storage": "{{ .spec.resources.requests.storage }}"},
                "storageClassName": STORAGE_CLASS,
                "persistentVolumeReclaimPolicy": "Retain",
                "nfs": {"server": "127.0.0.1", "path": "/{{ .metadata.uid }}"},
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": "{{ .metadata.namespace }}",
                    "name": "{{ .metadata.name }}",
                    "uid": "{{ .metadata.uid }}",
                },
            },
        })}},
    ),
]  # fmt: skip


def install(api: client.ApiClient) -> None:
    """The Stage kind, the default stages, and the storage class that claims get when they name none."""
    utils.create_from_dict(api, _CRD)
    _wait_until_served(api)
    for default in DEFAULTS:
        create(api, default)
    utils.create_from_dict(
        api,
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": STORAGE_CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "finetune.dev/kwok",
        },
    )


def create(api: client.ApiClient, body: dict[str, Any]) -> None:
    client.CustomObjectsApi(api).create_cluster_custom_object(GROUP, VERSION, PLURAL, body)


def touch(api: client.ApiClient) -> None:
    """Change a Stage in a way that says nothing, so that kwok reads all of them again."""
    custom = client.CustomObjectsApi(api)
    stage = custom.list_cluster_custom_object(GROUP, VERSION, PLURAL)["items"][0]["metadata"]["name"]
    touched = {"metadata": {"annotations": {"finetune.dev/touched": uuid4().hex}}}
    custom.patch_cluster_custom_object(GROUP, VERSION, PLURAL, stage, touched)


# kwok's controller reads Stages from the API with this switch on; their schema it checks itself.
_CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": f"{PLURAL}.{GROUP}",
        "annotations": {"api-approved.kubernetes.io": "unapproved, tests"},
    },
    "spec": {
        "group": GROUP,
        "scope": "Cluster",
        "names": {"kind": "Stage", "listKind": "StageList", "plural": PLURAL, "singular": "stage"},
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                        },
                    }
                },
            }
        ],
    },
}


def _wait_until_served(api: client.ApiClient) -> None:
    def served() -> bool:
        try:
            client.CustomObjectsApi(api).list_cluster_custom_object(GROUP, VERSION, PLURAL)
        except ApiException as refused:
            if refused.status != 404:
                raise
            return False
        return True

    until("the Stage kind", served)
