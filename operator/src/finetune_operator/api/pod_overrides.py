"""What a user may set on the pods of a job or of a deployment."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.container import (
    OUR_CONTAINERS,
    AddedContainer,
    Env,
    ResourceRequirements,
    VolumeMounts,
)
from finetune_operator.api.formats import (
    FreeObject,
    IpAddress,
    LabelName,
    LabelValue,
    ObjectName,
    listed_by,
)
from finetune_operator.api.rules import Rule
from finetune_operator.api.variables import RULES as RULES_OF_VARIABLES
from finetune_operator.api.volume import OUR_PATHS, OUR_VOLUMES, Volume

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


class DnsOption(ApiModel):
    """A line of options in /etc/resolv.conf."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """Such as ndots."""

    value: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Its value, where it has one."""


class DnsConfig(ApiModel):
    """As in a pod."""

    nameservers: Annotated[list[IpAddress], Field(max_length=3)] = []
    """Addresses of servers that are asked for names."""

    searches: Annotated[list[ObjectName], Field(max_length=8)] = []
    """Domains that short names are looked up in."""

    options: Annotated[list[DnsOption], *listed_by("name"), Field(max_length=16)] = []
    """Options of the resolver."""


class HostAlias(ApiModel):
    """A line of /etc/hosts."""

    ip: IpAddress
    """The address."""

    hostnames: Annotated[list[ObjectName], Field(min_length=1, max_length=16)]
    """Its names."""


class PodOverrides(ApiModel):
    """Overrides of the pods that are made. Where they and the operator's own settings meet, these win."""

    labels: Labels = {}
    """Labels added to the pods, and to the Job or Deployment that makes them."""

    annotations: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=65536)]], Field(max_length=64)
    ] = {}
    """Annotations added to the pods, and to the Job or Deployment that makes them."""

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

    env: Env = []
    """Environment variables added to the main container. A PYTHONPATH comes after the operator's own."""

    volumes: Annotated[list[Volume], *listed_by("name"), Field(max_length=32)] = []
    """Volumes added to the pods."""

    volume_mounts: VolumeMounts = []
    """Where these volumes are in the main container."""

    init_containers: Annotated[list[AddedContainer], *listed_by("name"), Field(max_length=8)] = []
    """Containers that have to end well, one after the other, before the main one starts. One with
    restartPolicy Always is a sidecar: it runs beside the main one, and ends after it."""

    image_pull_secrets: Annotated[list[LocalObjectReference], *listed_by("name"), Field(max_length=16)] = []
    """Secrets that open the registry of the images."""

    service_account_name: ObjectName | None = None
    """The pods' service account, for cloud credentials. The API token is not mounted. Default: default."""

    runtime_class_name: ObjectName | None = None
    """The pods' runtime class, such as nvidia."""

    scheduler_name: ObjectName | None = None
    """The scheduler that places the pods. Default: the cluster's."""

    dns_policy: Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"] | None = None
    """Whom the pods ask for names. Default: the cluster."""

    dns_config: DnsConfig | None = None
    """Name servers, search domains and options, beside those of dnsPolicy."""

    host_aliases: Annotated[list[HostAlias], *listed_by("ip"), Field(max_length=64)] = []
    """Lines of the pods' /etc/hosts."""

    host_network: bool = False
    """Use the node's network, where an RDMA fabric asks for it."""

    security_context: FreeObject | None = None
    """The pods' security context, merged over the operator's restricted one."""

    container_security_context: FreeObject | None = None
    """The main container's security context, merged over the operator's restricted one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule=f"!self.volumes.exists(v, v.name in {OUR_VOLUMES})",
            problem="a volume has the name of one of the operator's",
            remedy=f"give it another name than {', '.join(OUR_VOLUMES)}",
            field="volumes",
        ),
        Rule(
            rule=f"!self.volumeMounts.exists(m, m.mountPath in {OUR_PATHS})",
            problem="something of the operator's is at that path",
            remedy=f"mount it elsewhere than at {', '.join(OUR_PATHS)}",
            field="volumeMounts",
        ),
        Rule(
            rule=f"!self.initContainers.exists(c, c.name in {list(OUR_CONTAINERS)})",
            problem="a container has the name of one of the operator's",
            remedy=f"give it another name than {', '.join(OUR_CONTAINERS)}",
            field="initContainers",
        ),
        Rule(
            rule="!has(self.dnsPolicy) || self.dnsPolicy != 'None'"
            " || (has(self.dnsConfig) && size(self.dnsConfig.nameservers) > 0)",
            problem="dnsPolicy None asks nobody for names",
            remedy="set dnsConfig.nameservers, or another policy",
            field="dnsPolicy",
        ),
        *RULES_OF_VARIABLES,
    )
