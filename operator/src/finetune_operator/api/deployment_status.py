"""The status of a ModelDeployment: written by the operator, read by people and by other controllers."""

from typing import Annotated

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.status import Conditions


class AdapterStatus(ApiModel):
    """An adapter, and which servers have it."""

    name: str
    """The name by which requests ask for it."""

    path: str | None = None
    """The folder in the volume."""

    pods: list[str] = []
    """The servers that have it, by their own word."""

    checkpoints: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=1024)] = {}
    """Of a job that trains: which checkpoint each server has, such as step-200, by the server's name."""

    message: str | None = None
    """Why one has it not; nothing where all have."""


class CanaryStatus(ApiModel):
    """A new version that is tried, and what it was given."""

    model_path: str
    """The folder in the volume that it serves."""

    step: int
    """Which of rollout.canary.weights it is at; 0 before it generates, one more than there are when it takes
    the place of the version before."""

    steps: int
    """How many there are."""

    weight: int
    """Of a hundred requests those that it is given now."""

    requests: int | None = None
    """Requests that it has answered since it started, the probes' included; nothing where nobody counts."""

    error_percent: float | None = None
    """Of a hundred of them those that were answered with a server's error, at the endpoint with most."""

    time_to_first_token_seconds: float | None = None
    """Within which 95 of 100 had their first token."""

    message: str
    """What it waits for, or why it was given up."""


class ModelDeploymentStatus(ApiModel):
    """What a deployment is doing."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""

    phase: str | None = None
    """One word for people, computed from the conditions."""

    model_path: str | None = None
    """The folder in the volume that is served."""

    endpoint: str | None = None
    """Base URL of the OpenAI-compatible API."""

    replicas: int | None = None
    """Replicas there are, ready or not."""

    selector: str | None = None
    """The labels of the replicas' pods, for autoscalers."""

    ready_replicas: int | None = None
    """Replicas that have generated a token and answer."""

    adapters: list[AdapterStatus] = []
    """The adapters that are wanted."""

    canary: CanaryStatus | None = None
    """The new version that is tried beside the one that serves; nothing where none is."""

    conditions: Conditions = []
    """Fits, AdaptersReady, Available, Progressing, Reconciling and Stalled."""
