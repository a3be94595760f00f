"""What a reconcile sees, from as much as a test wants to say."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.child import ObservedChild
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.job import JobState, ObservedJob
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.observed.parent import ObservedParent, observe_parent
from finetune_operator.core.observed.pod import ObservedPod, observe_pod
from finetune_operator.core.termination import Termination

NAMESPACE = "default"


def pod(name: str = "pod", **status: Any) -> ObservedPod:
    """Return a pod of a status, as the kubelet writes it."""
    metadata = {"name": name, "namespace": NAMESPACE}
    return observe_pod({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})


def failed_pod(*ends: Termination, restarts: int = 0) -> ObservedPod:
    """Return a pod whose containers ended so."""
    ref = Ref(api_version="v1", kind="Pod", namespace=NAMESPACE, name="pod")
    return ObservedPod(ref=ref, ends=ends, restarts=restarts)


def attempt(
    stage: str,
    number: int = 0,
    state: JobState = JobState.ACTIVE,
    *,
    run: str = "3f2a9c1b",
    started: datetime | None = None,
    finished: datetime | None = None,
    name: str = "",
    **fields: Any,
) -> ObservedJob:
    """Return the Job of an attempt."""
    name = name or f"faq-{stage}-{number}"
    return ObservedJob(
        ref=Ref(api_version="batch/v1", kind="Job", namespace=NAMESPACE, name=name),
        component=stage,
        run=run,
        attempt=number,
        state=state,
        started_at=started,
        finished_at=finished,
        **fields,
    )


def server(**fields: Any) -> ObservedDeployment:
    """Return the Deployment of a server."""
    ref = Ref(api_version="apps/v1", kind="Deployment", namespace=NAMESPACE, name="faq")
    return ObservedDeployment(ref=ref, **fields)


def children(manifests: Iterable[Manifest]) -> dict[Ref, ObservedChild]:
    """Return children that were applied, as they are seen."""
    seen = map(observe, manifests)
    return {child.ref: child for child in seen if isinstance(child, ObservedChild)}


def parent(manifest: Manifest) -> ObservedParent:
    """Return an object of ours, as it is seen."""
    return observe_parent(manifest)
