"""What a user may say of a container: variables, resources, mounts; and whole containers that are added."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import (
    FIELD_PATH_PATTERN,
    MOUNT_PATH_PATTERN,
    ContainerName,
    EnvName,
    FreeObject,
    Quantity,
    listed_by,
)
from finetune_operator.api.rules import Rule
from finetune_operator.api.secrets import ConfigMapKeyRef, SecretKeyRef

MAIN, SERVER, SIGNATURE = "main", "server", "signature"
OUR_CONTAINERS = (MAIN, SERVER, SIGNATURE)
"""The containers of our pods; others come from podOverrides, or from a webhook that injects them."""


class FieldRef(ApiModel):
    """A field of the pod."""

    field_path: Annotated[str, StringConstraints(pattern=FIELD_PATH_PATTERN, max_length=512)]
    """Such as spec.nodeName, status.podIP or metadata.labels['team']."""


class EnvVarSource(ApiModel):
    """As in a container; one of the three."""

    secret_key_ref: SecretKeyRef | None = None
    """A key of a Secret."""

    config_map_key_ref: ConfigMapKeyRef | None = None
    """A key of a ConfigMap."""

    field_ref: FieldRef | None = None
    """A field of the pod."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)]"
            ".filter(given, given).size() == 1",
            problem="a variable has one source",
            remedy="give secretKeyRef, configMapKeyRef or fieldRef",
        ),
    )


class EnvVar(ApiModel):
    """As in a container."""

    name: EnvName
    """The variable's name."""

    value: Annotated[str, StringConstraints(max_length=32768)] | None = None
    """Its value."""

    value_from: EnvVarSource | None = None
    """Where its value comes from."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.value) || !has(self.valueFrom)",
            problem="a variable has a value or a source of it",
            remedy="remove one of value and valueFrom",
            field="valueFrom",
        ),
    )


class ResourceRequirements(ApiModel):
    """As in a container. GPUs are added from the worker or replica fields; do not repeat them here."""

    requests: Annotated[dict[str, Quantity], Field(max_length=32)] = {}
    """What is reserved, such as `cpu: 32` and `memory: 900Gi`."""

    limits: Annotated[dict[str, Quantity], Field(max_length=32)] = {}
    """What is never exceeded."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *(
            Rule(
                rule=f"self.{field}.all(name, name in ['cpu', 'memory', 'ephemeral-storage']"
                " || name.startsWith('hugepages-') || name.contains('/'))",
                problem="there is no such resource",
                remedy="use cpu, memory, ephemeral-storage, hugepages-SIZE, or a device such as acme.com/nic",
                field=field,
            )
            for field in ("requests", "limits")
        ),
        Rule(
            rule="self.requests.all(name, name in self.limits"
            " || !(name.contains('/') || name.startsWith('hugepages-')))",
            problem="devices and huge pages are requested without a limit",
            remedy="put them into limits too, with the same amount",
            field="requests",
        ),
        Rule(
            rule="self.requests.all(name, !(name in self.limits) || (name.contains('/')"
            " || name.startsWith('hugepages-')"
            " ? quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) == 0"
            " : quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0))",
            problem="a request is above its limit, or is not equal to it for a device or huge pages",
            remedy="lower the request, or raise the limit",
            field="requests",
            in_schema=False,
        ),
    )


class VolumeMount(ApiModel):
    """As in a container."""

    name: ContainerName
    """The volume's name."""

    mount_path: Annotated[str, StringConstraints(pattern=MOUNT_PATH_PATTERN, max_length=512)]
    """Where it is in the container."""

    sub_path: Annotated[str, StringConstraints(max_length=512)] | None = None
    """The path within the volume. Default: its root."""

    read_only: bool = False
    """Whether it cannot be written to."""


Env = Annotated[list[EnvVar], *listed_by("name"), Field(max_length=128)]
VolumeMounts = Annotated[list[VolumeMount], *listed_by("mountPath"), Field(max_length=32)]
_Words = Annotated[list[Annotated[str, StringConstraints(max_length=4096)]], Field(max_length=64)]


class AddedContainer(ApiModel):
    """A container before those of the operator, or beside them; as in a pod."""

    name: ContainerName
    """The container's name."""

    image: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """Its image."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When its image is pulled. Default: Kubernetes', by the tag."""

    command: _Words = []
    """Its entry point. Default: the image's."""

    args: _Words = []
    """Arguments of the entry point."""

    env: Annotated[list[EnvVar], *listed_by("name"), Field(max_length=64)] = []
    """Environment variables."""

    resources: ResourceRequirements | None = None
    """CPU, memory and other resources."""

    volume_mounts: VolumeMounts = []
    """Where the pod's volumes are in it: those of podOverrides.volumes."""

    security_context: FreeObject | None = None
    """Its security context, merged over the operator's restricted one."""

    restart_policy: Literal["Always"] | None = None
    """Always for a sidecar. Default: it ends before the next one starts."""

    startup_probe: FreeObject | None = None
    """What tells that it has started: what comes after a sidecar waits for that."""
