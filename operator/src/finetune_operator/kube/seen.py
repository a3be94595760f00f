"""What the reconciles read of an object, so that a change of anything else wakes nobody.

Most of what is watched are pods that start as they should, and our own writes that come back.
"""

from dataclasses import replace

from finetune_operator.core.job_observation import is_disrupted, observe_job
from finetune_operator.core.labels import ATTEMPT, COMPONENT, RUN
from finetune_operator.core.objects import Manifest
from finetune_operator.core.pod_waiting import waiting_of

_OF_AN_ATTEMPT = {ATTEMPT, COMPONENT, RUN}


def is_news(before: Manifest | None, after: Manifest) -> bool:
    """Return whether a reconcile may come to something else than it did before an object changed."""
    if after["kind"] == "Pod":
        return _seen_of_pod(before or {}) != _seen_of_pod(after)
    if before is None:
        return True
    if after["kind"] == "Job" and after["metadata"].get("labels", {}).keys() >= _OF_AN_ATTEMPT:
        return _seen_of_job(before) != _seen_of_job(after)
    return _without_version(before) != _without_version(after)


def _seen_of_pod(pod: Manifest) -> object:
    """Return what a pod says when something is wrong; nothing of one that is not there, or does well."""
    containers = pod.get("status", {}).get("containerStatuses", [])
    ends = [c.get(state, {}).get("terminated") for c in containers for state in ("state", "lastState")]
    return (
        waiting_of((pod,)),
        is_disrupted(pod),
        [end for end in ends if end and end["exitCode"] != 0],
        sum(container.get("restartCount", 0) for container in containers),
    )


def _seen_of_job(job: Manifest) -> object:
    # How many of its pods are ready is for the metrics alone.
    return replace(observe_job(job, ()), ready_pods=0), job["metadata"].get("ownerReferences")


def _without_version(obj: Manifest) -> object:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": None}}
