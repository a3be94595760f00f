"""Deployments of servers: how far a rollout is, by the Deployment's own conditions and by its pods."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from finetune_operator.core.conditions import condition_of, time_of, true_condition_of
from finetune_operator.core.labels import ROLLOUT
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.child import ObservedChild, child_fields
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.core.termination import Termination
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait, first_of, refused_pods

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedDeployment(ObservedChild):
    """A Deployment and its pods, or a LeaderWorkerSet and those of its groups."""

    up_to_date: bool = True
    """Its controller has seen the newest template."""
    replicas: int = 0
    updated: int = 0
    ready: int = 0
    available_since: datetime | None = None
    """Since when all of them are ready, but for those that may be missing; None while they are not."""
    complete: bool = False
    """Its newest template was rolled out to the end: every replica was ready."""
    overdue_since: str | None = None
    """When it had made no progress for progressDeadlineSeconds; None while it has."""
    refused: Wait | None = None
    """Why its pods are not made: a quota, a policy or a webhook refuses them."""
    rollout: str = ""
    """Our annotation about its templates."""
    pods: tuple[ObservedPod, ...] = ()
    """Those that are there: put in by who asks for a Deployment with its pods."""

    @property
    def restarts(self) -> int:
        """Of the pod that was started again most often."""
        return max((pod.restarts for pod in self.pods), default=0)

    @property
    def waiting(self) -> Wait | None:
        """Why a pod is not there or does not run; None when all do."""
        return first_of((self.refused, *(pod.waiting for pod in self.pods)))

    @property
    def termination(self) -> Termination | None:
        """The newest end with an error, of a container that was started again too."""
        ends = [end for pod in self.pods for end in (*pod.ends, *pod.ends_before)]
        return max(ends, key=lambda end: end.finished_at or _LONG_AGO, default=None)


def observe_deployment(obj: Manifest) -> ObservedDeployment:
    """Return a Deployment, without its pods."""
    metadata, status = obj["metadata"], obj.get("status", {})
    progressing, failure = condition_of(status, "Progressing"), condition_of(status, "ReplicaFailure")
    replicas, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
    up_to_date = status.get("observedGeneration", 0) >= metadata.get("generation", 1)
    overdue = up_to_date and progressing.get("reason") == "ProgressDeadlineExceeded"
    return ObservedDeployment(
        **child_fields(obj),
        up_to_date=up_to_date,
        replicas=replicas,
        updated=updated,
        ready=status.get("readyReplicas", 0),
        available_since=time_of(true_condition_of(status, "Available").get("lastTransitionTime")),
        complete=up_to_date
        and progressing.get("reason") == "NewReplicaSetAvailable"
        and updated == replicas > 0,
        overdue_since=progressing["lastTransitionTime"] if overdue else None,
        refused=_paused(progressing) or _refused(failure),
        rollout=metadata.get("annotations", {}).get(ROLLOUT, ""),
    )


def _paused(progressing: Mapping[str, Any]) -> Wait | None:
    if progressing.get("reason") != "DeploymentPaused":
        return None
    return Wait(reason=WaitReason.PAUSED, since=time_of(progressing.get("lastTransitionTime")))


def _refused(failure: Mapping[str, Any]) -> Wait | None:
    if failure.get("status") != "True":
        return None
    return refused_pods(failure.get("message", ""), time_of(failure.get("lastTransitionTime")))
