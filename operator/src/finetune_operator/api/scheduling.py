"""When a job runs, how often it is tried again, and how long it may take."""

from typing import Annotated

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import ObjectName


class SchedulingSpec(ApiModel):
    """Queue, priority, suspension and deadline. May change while the job runs."""

    queue_name: Annotated[ObjectName, StringConstraints(max_length=63)] | None = None
    """Kueue's LocalQueue that admits the training pods. Default: no queue."""

    priority_class_name: ObjectName | None = None
    """Priority class of the pods. Default: the cluster's."""

    suspend: bool = False
    """Save, stop and give the GPUs back; false goes on from the newest checkpoint."""

    active_deadline_seconds: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Seconds the job may take before it fails, suspension not counted. Default: no limit."""


class FailurePolicy(ApiModel):
    """What happens when an attempt fails for a reason that a retry can help."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 3
    """Attempts after the first, each from the newest checkpoint. Preemption does not count."""

    backoff_seconds: Annotated[int, Field(ge=0, le=3600)] = 10
    """Seconds before the first restart; doubled for each that follows."""

    max_backoff_seconds: Annotated[int, Field(ge=0, le=86400)] = 300
    """Most seconds before a restart."""
