"""What a user may set on the pods of a job or of a deployment."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import EnvName, FreeObject, LabelValue, ObjectName, Quantity, ShortText

Labels = Annotated[dict[str, LabelValue], Field(max_length=64)]


class Toleration(ApiModel):
    """As in a pod."""

    key: ShortText | None = None
    """The taint's key. Without it, with operator Exists, every taint is tolerated."""

    operator: Literal["Equal", "Exists"] | None = None
    """Equal or Exists. Default: Equal."""

    value: ShortText | None = None
    """The taint's value, for Equal."""

    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect. Default: all effects."""

    toleration_seconds: int | None = None
    """Seconds a pod may stay after a NoExecute taint. Default: for ever."""


class EnvVar(ApiModel):
    """As in a container."""

    name: EnvName
    """The variable's name."""

    value: Annotated[str, StringConstraints(max_length=32768)] | None = None
    """Its value."""

    value_from: FreeObject | None = None
    """Where its value comes from, as in a container: secretKeyRef, configMapKeyRef, fieldRef, ..."""


class ResourceRequirements(ApiModel):
    """As in a container. GPUs are added from the worker or replica fields; do not repeat them here."""

    requests: Annotated[dict[str, Quantity], Field(max_length=32)] = {}
    """What is reserved, such as `cpu: 32` and `memory: 900Gi`."""

    limits: Annotated[dict[str, Quantity], Field(max_length=32)] = {}
    """What is never exceeded."""


class LocalObjectReference(ApiModel):
    """An object in the same namespace."""

    name: ObjectName
    """The object's name."""


class PodTemplateSpec(ApiModel):
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

    topology_spread_constraints: Annotated[list[FreeObject], Field(max_length=16)] = []
    """How the pods are spread, as in a pod."""

    resources: ResourceRequirements | None = None
    """CPU, memory and other resources of the main container."""

    env: Annotated[list[EnvVar], Field(max_length=128)] = []
    """Environment variables added to the main container."""

    image_pull_secrets: Annotated[list[LocalObjectReference], Field(max_length=16)] = []
    """Secrets that open the registry of the images."""

    service_account_name: ObjectName | None = None
    """The pods' service account, for cloud credentials. The API token is not mounted. Default: default."""

    runtime_class_name: ObjectName | None = None
    """The pods' runtime class, such as nvidia."""

    scheduler_name: ObjectName | None = None
    """The scheduler that places the pods. Default: the cluster's."""

    host_network: bool = False
    """Use the node's network, where an RDMA fabric asks for it. Default: false."""

    security_context: FreeObject | None = None
    """The pods' security context, merged over the operator's restricted one."""

    container_security_context: FreeObject | None = None
    """The main container's security context, merged over the operator's restricted one."""
