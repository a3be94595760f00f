"""Kubernetes Deployments and their pods, read from their objects."""

from collections.abc import Iterable
from dataclasses import dataclass

from finetune_operator.core.conditions import parse_timestamp
from finetune_operator.core.labels import ROLLOUT
from finetune_operator.core.objects import Manifest
from finetune_operator.core.termination import Termination, parse_termination


@dataclass(frozen=True, kw_only=True)
class ObservedDeployment:
    """A Deployment, and the newest end of one of its containers."""

    up_to_date: bool = True
    """Its controller has seen the newest template."""
    replicas: int = 0
    updated: int = 0
    ready: int = 0
    complete: bool = False
    """Its newest template was rolled out to the end: every replica was ready."""
    overdue_since: str | None = None
    """When it had made no progress for progressDeadlineSeconds; None while it has."""
    rollout: str = ""
    """Our annotation about its templates."""
    restarts: int = 0
    """Of the container that was started again most often."""
    termination: Termination | None = None


def observe_deployment(deployment: Manifest, pods: Iterable[Manifest]) -> ObservedDeployment:
    """Return a Deployment and its pods."""
    metadata, status = deployment["metadata"], deployment.get("status", {})
    progressing = _condition(status, "Progressing")
    updated = status.get("updatedReplicas", 0)
    up_to_date = status.get("observedGeneration", 0) >= metadata.get("generation", 1)
    statuses = [s for pod in pods for s in pod.get("status", {}).get("containerStatuses", [])]
    return ObservedDeployment(
        up_to_date=up_to_date,
        replicas=status.get("replicas", 0),
        updated=updated,
        ready=status.get("readyReplicas", 0),
        complete=up_to_date
        and progressing.get("reason") == "NewReplicaSetAvailable"
        and updated == status.get("replicas", 0) > 0,
        overdue_since=progressing["lastTransitionTime"]
        if up_to_date and progressing.get("reason") == "ProgressDeadlineExceeded"
        else None,
        rollout=metadata.get("annotations", {}).get(ROLLOUT, ""),
        restarts=max((s.get("restartCount", 0) for s in statuses), default=0),
        termination=_newest_termination(statuses),
    )


def _condition(status: Manifest, type_: str) -> Manifest:
    conditions: list[Manifest] = status.get("conditions", [])
    return next((c for c in conditions if c["type"] == type_), {})


def _newest_termination(statuses: list[Manifest]) -> Termination | None:
    """Return the newest end with an error; lastState holds that of a container that was started again."""
    ends = [s.get(state, {}).get("terminated") for s in statuses for state in ("state", "lastState")]
    failed = [end for end in ends if end and end["exitCode"] != 0]
    if not failed:
        return None
    end = max(failed, key=lambda e: str(e["finishedAt"]))
    return parse_termination(end["exitCode"], end.get("message", ""), parse_timestamp(end["finishedAt"]))
