"""Objects that are late: which those are, and the pods of an object with why each waits."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.job import ObservedJob
from finetune_operator.core.observed.object import ObservedObject
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.core.waiting import Wait, late_after_seconds

DelayOf = Callable[[ObservedObject], Wait | None]
"""Why an object is late, by its newest event; None for one that is not."""


def nothing_is_late(_: ObservedObject) -> Wait | None:
    """Return None: where nobody looks at events."""
    return None


def is_late(obj: ObservedObject, now: datetime) -> bool:
    """Return whether an object has gone for longer than usual through what every object goes through."""
    wait = obj.delayed
    if wait is None or wait.since is None:
        return False
    return now >= wait.since + timedelta(seconds=late_after_seconds(wait))


def pods_of(
    owner: ObservedJob | ObservedDeployment, objects: Cache, delay_of: DelayOf = nothing_is_late
) -> tuple[ObservedPod, ...]:
    """Return the pods that an object has now, each with why it waits."""
    pods = objects.owned_by(owner, ObservedPod)
    return tuple(replace(pod, waiting=pod.waiting or delay_of(pod)) if pod.delayed else pod for pod in pods)
