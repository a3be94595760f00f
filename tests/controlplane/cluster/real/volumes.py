"""Gives each claim of the class `shared` a folder of the machine, which many pods may write."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster.stages import STORAGE_CLASS
from kubernetes import client

_PROVISIONER = "finetune.dev/folders"


def create_class(api: client.ApiClient) -> None:
    """The one that a claim gets when it names none."""
    client.StorageV1Api(api).create_storage_class(
        {
            "metadata": {
                "name": STORAGE_CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": _PROVISIONER,
        }
    )


def provision_for_ever(api: client.ApiClient, folder: Path) -> None:
    core = client.CoreV1Api(api)
    while True:
        with suppress(client.ApiException, OSError):  # the API server is away, as a test may want it
            for claim in core.list_persistent_volume_claim_for_all_namespaces().items:
                if claim.spec.storage_class_name == STORAGE_CLASS and not claim.spec.volume_name:
                    _provision(core, claim, folder)
        time.sleep(0.2)


def _provision(core: client.CoreV1Api, claim: Any, folder: Path) -> None:
    """A volume of a folder is mounted as it is: whoever may write it must be settled here."""
    place = folder / claim.metadata.namespace / claim.metadata.name
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o777)
    with suppress(client.ApiException):  # it is there, and being bound
        core.create_persistent_volume(_volume(claim, place))


def _volume(claim: Any, place: Path) -> dict[str, Any]:
    return {
        "metadata": {"name": f"pvc-{claim.metadata.uid}"},
        "spec": {
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
            "capacity": {"storage": claim.spec.resources.requests["storage"]},
            "storageClassName": STORAGE_CLASS,
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(place)},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.metadata.namespace,
                "name": claim.metadata.name,
                "uid": claim.metadata.uid,
            },
        },
    }
