"""Volumes that a user adds to pods, and what of them can be seen to be wrong before a pod is made."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import ContainerName, FreeObject
from finetune_operator.api.rules import Rule


def _with(*keys: str) -> tuple[Any, ...]:
    """Return what makes an object of Kubernetes' own one that must have these keys."""

    def has_them(source: dict[str, Any]) -> dict[str, Any]:
        for key in keys:
            if not source.get(key):
                raise PydanticCustomError("missing key", "is required", {"key": key, "remedy": "add it"})
        return source

    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "required": list(keys)}
    return AfterValidator(has_them), WithJsonSchema(schema)


_SOURCES = (
    *("configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "csi", "ephemeral"),
    *("downwardAPI", "image", "nfs", "hostPath"),
)


class Volume(ApiModel):
    """As in a pod; one source."""

    name: ContainerName
    """The volume's name."""

    config_map: Annotated[FreeObject, *_with("name")] | None = None
    """Files of a ConfigMap."""

    secret: Annotated[FreeObject, *_with("secretName")] | None = None
    """Files of a Secret."""

    empty_dir: FreeObject | None = None
    """An empty folder of the pod's own."""

    persistent_volume_claim: Annotated[FreeObject, *_with("claimName")] | None = None
    """A claim."""

    projected: Annotated[FreeObject, *_with("sources")] | None = None
    """Files of several sources."""

    csi: Annotated[FreeObject, *_with("driver")] | None = None
    """What a CSI driver makes for the pod."""

    ephemeral: Annotated[FreeObject, *_with("volumeClaimTemplate")] | None = None
    """A claim of the pod's own."""

    downward_api: FreeObject | None = Field(None, alias="downwardAPI")
    """Fields of the pod."""

    image: Annotated[FreeObject, *_with("reference")] | None = None
    """Files of an image or an OCI artifact, from Kubernetes 1.36 on."""

    nfs: Annotated[FreeObject, *_with("server", "path")] | None = None
    """A folder of an NFS server."""

    host_path: Annotated[FreeObject, *_with("path")] | None = None
    """A folder of the node."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule=f"[{', '.join(f'has(self.{each})' for each in _SOURCES)}].filter(given, given).size() == 1",
            problem="a volume has one source",
            remedy=f"give one of {', '.join(_SOURCES)}",
        ),
    )


# What build_pod_template and the containers have; a test compares them with what the builders make.
JOB_VOLUMES = ["volume", "run", "tmp", "shm", "cache", "ca"]
SERVER_VOLUMES = ["volume", "tmp", "shm", "cache", "ca"]
OUR_VOLUMES = list(dict.fromkeys([*JOB_VOLUMES, *SERVER_VOLUMES]))
OUR_PATHS = ["/volume", "/tmp", "/dev/shm", "/cache", "/etc/finetune", "/etc/finetune-ca"]


def mounts_name_volumes(
    overrides: str, ours: Sequence[str], *, field: str, base: str = "", each: str = ""
) -> tuple[Rule, ...]:
    """Return the rules that every mount of these overrides is of a volume that their pods have.

    `overrides` is CEL for an object with volumes, volumeMounts and initContainers; `base` for another one
    whose volumes the pods have too; `each` for a map of such objects, whose keys are `s` in `overrides`.
    """
    places = (overrides, base) if base else (overrides,)
    given = "".join(f" || {place}.volumes.exists(v, v.name == m.name)" for place in places)
    mounts = f"volumeMounts.all(m, m.name in {list(ours)}{given})"
    checks = {
        "a mount": f"{overrides}.{mounts}",
        "a mount of initContainers": f"{overrides}.initContainers.all(c, c.{mounts})",
    }
    return tuple(
        Rule(
            rule=f"{each}.all(s, {check})" if each else check,
            problem=f"{what} is of a volume that is not there",
            remedy=f"add it to volumes, or mount one of {', '.join(ours)}",
            field=field,
        )
        for what, check in checks.items()
    )
