"""What was seen of a ModelDeployment's surroundings, on a cluster or by the local engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from finetune_operator.core.objects import Ref
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.child import ObservedChild
from finetune_operator.core.observed.delay import DelayOf, pods_of
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.http_route import ObservedRoute
from finetune_operator.core.observed.leader_worker_set import LEADER_WORKER_SET
from finetune_operator.core.observed.parent import ObservedParent
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.core.outcome import Outcome, outcome_of
from finetune_operator.serving.children.names import CANARY
from finetune_operator.serving.server_adapters import ServerAdapters
from finetune_operator.serving.server_requests import ServerRequests


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Children as far as they are kept, the servers' among them, and the jobs that are named."""

    children: Mapping[Ref, ObservedChild] = field(default_factory=dict)
    jobs: Mapping[str, Outcome] = field(default_factory=dict)
    """FineTuneJobs by their names, for the model and for adapters; those that are there."""
    deployment: ObservedDeployment | None = None
    """The Deployment, or the LeaderWorkerSet of servers on several nodes."""
    adapters: Mapping[str, ServerAdapters] = field(default_factory=dict)
    """What servers told of their adapters, by the names of their pods; those that answered."""
    canary: ObservedDeployment | None = None
    """The Deployment of a version that is tried beside it."""
    route: ObservedRoute | None = None
    """By which it has its share of the requests."""
    requests: Mapping[str, ServerRequests] = field(default_factory=dict)
    """What the canary's servers count, by the names of their pods; those that told."""
    endpoint: str | None = None
    """Base URL of the API, where it is reached from: the Service's name, or a port of this machine."""


AdaptersOf = Callable[[ObservedPod], ServerAdapters | None]
"""What a server told of its adapters; None where it has not answered."""
RequestsOf = Callable[[ObservedPod], ServerRequests | None]
"""What a server counts of its requests; None where nobody asks, or it has not told."""
EndpointOf = Callable[[Sequence[ObservedChild], Sequence[ObservedPod]], str | None]
"""Where a server is reached, by its children and its pods; None where it is not yet."""


def observe_model_deployment(
    parent: ObservedParent,
    objects: Cache,
    endpoint_of: EndpointOf,
    delay_of: DelayOf,
    adapters_of: AdaptersOf,
    requests_of: RequestsOf,
) -> Observed:
    """Return what is seen of a ModelDeployment's children, and of the jobs that it names."""
    children = objects.owned_by(parent, ObservedChild)
    kind = LEADER_WORKER_SET if (parent.spec or {}).get("nodes", 1) > 1 else "Deployment"
    servers = [
        replace(child, pods=pods_of(child, objects, delay_of))
        for child in children
        if isinstance(child, ObservedDeployment) and child.ref.kind == kind
    ]
    server = next((each for each in servers if each.component != CANARY), None)
    canary = next((each for each in servers if each.component == CANARY), None)
    jobs = {ref.name: objects.get(ref, ObservedParent) for ref in parent.named_jobs}
    # A server without adapters answers 404, and counts that among its requests.
    asked = _answering(server) if (parent.spec or {}).get("adapters") else ()
    told = {pod.name: adapters_of(pod) for pod in asked}
    counted = {pod.name: requests_of(pod) for pod in _answering(canary)}
    return Observed(
        children={child.ref: child for child in children},
        jobs={name: outcome_of(job.manifest) for name, job in jobs.items() if job},
        deployment=server,
        adapters={name: adapters for name, adapters in told.items() if adapters},
        canary=canary,
        route=next((child for child in children if isinstance(child, ObservedRoute)), None),
        requests={name: requests for name, requests in counted.items() if requests},
        endpoint=endpoint_of(children, server.pods if server else ()),
    )


def _answering(server: ObservedDeployment | None) -> list[ObservedPod]:
    return [pod for pod in server.pods if pod.runs and not pod.deleting] if server else []
