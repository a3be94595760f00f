"""What a user may set on the pods of a job or of a deployment."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import (
    FIELD_PATH_PATTERN,
    EnvName,
    FreeObject,
    LabelName,
    LabelValue,
    ObjectName,
    Quantity,
    listed_by,
)
from finetune_operator.api.rules import Rule
from finetune_operator.api.secrets import ConfigMapKeyRef, SecretKeyRef

Labels = Annotated[dict[str, LabelValue], Field(max_length=64)]


class Toleration(ApiModel):
    """As in a pod."""

    key: LabelName | None = None
    """The taint's key. Without it, with operator Exists, every taint is tolerated."""

    operator: Literal["Equal", "Exists"] | None = None
    """Equal or Exists. Default: Equal."""

    value: LabelValue | None = None
    """The taint's value, for Equal."""

    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect. Default: all effects."""

    toleration_seconds: int | None = None
    """Seconds a pod may stay after a NoExecute taint. Default: for ever."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            problem="every taint is tolerated only by operator Exists",
            remedy="name the taint's key, or set operator to Exists",
            field="key",
        ),
        Rule(
            rule="!has(self.value) || !has(self.operator) || self.operator == 'Equal'",
            problem="operator Exists takes no value",
            remedy="remove it, or set operator to Equal",
            field="value",
        ),
        Rule(
            rule="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            problem="only a NoExecute taint is tolerated for a time",
            remedy="set effect to NoExecute, or remove tolerationSeconds",
            field="tolerationSeconds",
        ),
    )


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
        ),
    )


class LocalObjectReference(ApiModel):
    """An object in the same namespace."""

    name: ObjectName
    """The object's name."""


class TopologySpreadConstraint(ApiModel):
    """As in a pod."""

    max_skew: Annotated[int, Field(ge=1)]
    """By how many pods two domains may differ."""

    topology_key: LabelName
    """The node label that tells domains apart."""

    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """What happens to a pod that cannot be placed so."""

    label_selector: FreeObject | None = None
    """Which pods are counted, as in a pod."""


class PodOverrides(ApiModel):
    """Overrides of the pods that are made. Where they and the operator's own settings meet, these win."""

    labels: Labels = {}
    """Labels added to the pods."""

    annotations: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=65536)]], Field(max_length=64)
    ] = {}
    """Annotations added to the pods."""

    node_selector: Labels = {}
    """Labels that a node must have."""

    tolerations: Annotated[list[Toleration], Field(max_length=64)] = []
    """Taints that the pods tolerate."""

    affinity: FreeObject | None = None
    """Node and pod affinity, as in a pod."""

    topology_spread_constraints: Annotated[
        list[TopologySpreadConstraint], *listed_by("topologyKey", "whenUnsatisfiable"), Field(max_length=16)
    ] = []
    """How the pods are spread, as in a pod."""

    resources: ResourceRequirements | None = None
    """CPU, memory and other resources of the main container."""

    env: Annotated[list[EnvVar], *listed_by("name"), Field(max_length=128)] = []
    """Environment variables added to the main container."""

    image_pull_secrets: Annotated[list[LocalObjectReference], *listed_by("name"), Field(max_length=16)] = []
    """Secrets that open the registry of the images."""

    service_account_name: ObjectName | None = None
    """The pods' service account, for cloud credentials. The API token is not mounted. Default: default."""

    runtime_class_name: ObjectName | None = None
    """The pods' runtime class, such as nvidia."""

    scheduler_name: ObjectName | None = None
    """The scheduler that places the pods. Default: the cluster's."""

    host_network: bool = False
    """Use the node's network, where an RDMA fabric asks for it."""

    security_context: FreeObject | None = None
    """The pods' security context, merged over the operator's restricted one."""

    container_security_context: FreeObject | None = None
    """The main container's security context, merged over the operator's restricted one."""
