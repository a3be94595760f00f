"""What the operator is told from outside: the images, and the few figures that differ between clusters."""

from dataclasses import dataclass, field
from importlib.metadata import version

from finetune_operator.core.egress import Egress
from finetune_operator.core.objects import Manifest

_REGISTRY = "ghcr.io/finetune-operator"
_VERSION = version("finetune-operator")


@dataclass(frozen=True, kw_only=True)
class Images:
    """Container images, one a role."""

    trainer: str = f"{_REGISTRY}/trainer:{_VERSION}"
    converter: str = f"{_REGISTRY}/converter:{_VERSION}"
    server: str = f"{_REGISTRY}/server:{_VERSION}"


@dataclass(frozen=True, kw_only=True)
class Config:
    """The operator's configuration; the chart's values on a cluster, the defaults on one machine."""

    images: Images = field(default_factory=Images)
    image_pull_policy: str = "IfNotPresent"
    gpu_memory: str | int = "141G"
    """Of a GPU whose spec does not say; an H200's."""
    gpus_per_node: int = 8
    """Of the largest node: a pod that asks for more is never started."""
    cache_claim: str = ""
    """The claim for what pods compile, of objects that name none; empty for none."""
    egress: Egress = field(default_factory=Egress)
    """The way out of the cluster."""
    has_leader_worker_sets: bool = False
    """Whether the cluster serves the API of LeaderWorkerSets, for servers on several nodes."""
    has_http_routes: bool = False
    """Whether the cluster serves Gateway API's HTTPRoutes, for canaries."""
    has_scaled_objects: bool = False
    """Whether the cluster serves KEDA's ScaledObjects, for autoscaling by Prometheus."""
    progress_from: tuple[Manifest, ...] = ()
    """Who may ask a stage for its progress, as peers of a NetworkPolicy: the operator. Empty: everybody."""
