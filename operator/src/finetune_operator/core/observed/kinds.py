"""Which observe_* reads which kind: what comes from a watch, or as an answer, goes through `observe`."""

from collections.abc import Callable

from finetune_operator.api.resources import RESOURCES
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.child import observe_child
from finetune_operator.core.observed.deployment import observe_deployment
from finetune_operator.core.observed.http_route import observe_http_route
from finetune_operator.core.observed.job import observe_job
from finetune_operator.core.observed.leader_worker_set import observe_leader_worker_set
from finetune_operator.core.observed.object import ObservedObject
from finetune_operator.core.observed.parent import observe_parent
from finetune_operator.core.observed.pod import observe_pod

_OBSERVE: dict[str, Callable[[Manifest], ObservedObject]] = {
    **{resource.kind: observe_parent for resource in RESOURCES},
    "Deployment": observe_deployment,
    "HTTPRoute": observe_http_route,
    "Job": observe_job,
    "LeaderWorkerSet": observe_leader_worker_set,
    "Pod": observe_pod,
}


def observe(obj: Manifest) -> ObservedObject:
    """Return what is read of an object."""
    return _OBSERVE.get(obj["kind"], observe_child)(obj)
