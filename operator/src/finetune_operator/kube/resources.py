"""The kinds that the operator reads and writes, and their paths in the API."""

from dataclasses import dataclass

from finetune_operator.api import API_VERSION
from finetune_operator.api.resources import RESOURCES
from finetune_operator.core.labels import MANAGED_BY, MANAGER, NAME
from finetune_operator.core.observed.http_route import HTTP_ROUTE, HTTP_ROUTE_VERSION
from finetune_operator.core.observed.leader_worker_set import LEADER_WORKER_SET, LEADER_WORKER_SET_VERSION
from finetune_operator.serving.children.autoscaler import SCALED_OBJECT, SCALED_OBJECT_VERSION


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A kind, under the name that the API's paths have for it."""

    api_version: str
    kind: str
    plural: str
    label_selector: str = ""
    """Which of its objects concern us; all when empty."""

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the path of an object, or of a list; without a namespace, of all namespaces."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        inside = f"namespaces/{namespace}/" if namespace else ""
        return "/".join(part for part in (f"{root}/{inside}{self.plural}", name, subresource) if part)


# Pods are made by controllers, from templates that have no managed-by label.
_OURS, _OUR_PODS = f"{MANAGED_BY}={MANAGER}", f"{NAME}=finetune"

PARENTS = tuple(
    Resource(api_version=API_VERSION, kind=resource.kind, plural=resource.plural) for resource in RESOURCES
)
CHILDREN = (
    Resource(api_version="batch/v1", kind="Job", plural="jobs", label_selector=_OURS),
    Resource(api_version="apps/v1", kind="Deployment", plural="deployments", label_selector=_OURS),
    Resource(api_version="v1", kind="ConfigMap", plural="configmaps", label_selector=_OURS),
    Resource(api_version="v1", kind="Service", plural="services", label_selector=_OURS),
    Resource(
        api_version="v1", kind="PersistentVolumeClaim", plural="persistentvolumeclaims", label_selector=_OURS
    ),
    Resource(
        api_version="policy/v1",
        kind="PodDisruptionBudget",
        plural="poddisruptionbudgets",
        label_selector=_OURS,
    ),
    Resource(
        api_version="networking.k8s.io/v1",
        kind="NetworkPolicy",
        plural="networkpolicies",
        label_selector=_OURS,
    ),
    Resource(
        api_version="autoscaling/v2",
        kind="HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        label_selector=_OURS,
    ),
)
LEADER_WORKER_SETS = Resource(
    api_version=LEADER_WORKER_SET_VERSION,
    kind=LEADER_WORKER_SET,
    plural="leaderworkersets",
    label_selector=_OURS,
)
HTTP_ROUTES = Resource(
    api_version=HTTP_ROUTE_VERSION, kind=HTTP_ROUTE, plural="httproutes", label_selector=_OURS
)
SCALED_OBJECTS = Resource(
    api_version=SCALED_OBJECT_VERSION, kind=SCALED_OBJECT, plural="scaledobjects", label_selector=_OURS
)
PODS = Resource(api_version="v1", kind="Pod", plural="pods", label_selector=_OUR_PODS)
EVENTS = Resource(api_version="v1", kind="Event", plural="events")
LEASES = Resource(api_version="coordination.k8s.io/v1", kind="Lease", plural="leases")

WATCHED = (*PARENTS, *CHILDREN, PODS)
OPTIONAL = (LEADER_WORKER_SETS, HTTP_ROUTES, SCALED_OBJECTS)
"""Of APIs that a cluster may lack: watched where they are served."""

BY_KIND = {resource.kind: resource for resource in (*WATCHED, *OPTIONAL, EVENTS, LEASES)}
