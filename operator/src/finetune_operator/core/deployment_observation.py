"""Kubernetes Deployments and their pods, read from their objects."""

from collections.abc import Iterable
from dataclasses import dataclass

from finetune_operator.core.conditions import parse_timestamp
from finetune_operator.core.objects import Manifest
from finetune_operator.core.termination import Termination, parse_termination


@dataclass(frozen=True, kw_only=True)
class ObservedDeployment:
    """A Deployment, and the newest end of one of its containers."""

    up_to_date: bool = True
    """Its controller has seen the newest template."""
    updated: int = 0
    ready: int = 0
    deadline_exceeded: bool = False
    """It made no progress for progressDeadlineSeconds."""
    restarts: int = 0
    """Of the container that was started again most often."""
    termination: Termination | None = None


def observe_deployment(deployment: Manifest, pods: Iterable[Manifest]) -> ObservedDeployment:
    """Return a Deployment and its pods."""
    metadata, status = deployment["metadata"], deployment.get("status", {})
    statuses = [s for pod in pods for s in pod.get("status", {}).get("containerStatuses", [])]
    return ObservedDeployment(
        up_to_date=status.get("observedGeneration", 0) >= metadata.get("generation", 1),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        deadline_exceeded=any(
            c["type"] == "Progressing" and c["reason"] == "ProgressDeadlineExceeded"
            for c in status.get("conditions", [])
        ),
        restarts=max((s.get("restartCount", 0) for s in statuses), default=0),
        termination=_newest_termination(statuses),
    )


def _newest_termination(statuses: list[Manifest]) -> Termination | None:
    """Return the newest end with an error; lastState holds that of a container that was started again."""
    ends = [s.get(state, {}).get("terminated") for s in statuses for state in ("state", "lastState")]
    failed = [end for end in ends if end and end["exitCode"] != 0]
    if not failed:
        return None
    end = max(failed, key=lambda e: str(e["finishedAt"]))
    return parse_termination(end["exitCode"], end.get("message", ""), parse_timestamp(end["finishedAt"]))
