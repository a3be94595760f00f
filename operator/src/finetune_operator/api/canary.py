"""A new version that is given a share of the requests first: by weights of a Gateway API HTTPRoute."""

from typing import Annotated

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import HOSTNAME_PATTERN, NamespaceName, ObjectName, Unique

Hostname = Annotated[str, StringConstraints(pattern=HOSTNAME_PATTERN, max_length=253)]
Percent = Annotated[int, Field(ge=1, le=99)]


class ParentReference(ApiModel):
    """A Gateway, as Gateway API's ParentReference names it."""

    name: ObjectName
    """The Gateway's name."""

    namespace: NamespaceName | None = None
    """Where it is; its listeners must allow routes of the deployment's namespace. Default: that."""

    section_name: ObjectName | None = None
    """One of its listeners. Default: all that take HTTP."""


class CanaryAnalysis(ApiModel):
    """What the canary has to reach at each step, by vLLM's own metrics since it started."""

    require_evaluation: bool = False
    """Only a model whose job has an evaluation is given requests: what falls short of its thresholds
    (evaluation.require) is never served."""

    min_requests: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Requests to have been answered, the probes' included, before the first step ends."""

    max_error_percent: Annotated[float, Field(ge=0, le=100)] | None = None
    """Of a hundred requests to one endpoint, those answered with a server's error (5xx), at most."""

    max_time_to_first_token_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    """Within which 95 of 100 requests have their first token."""


class CanarySpec(ApiModel):
    """A new version of the pods is tried beside the one that serves. It needs Gateway API, a Gateway, and
    GPUs for its own pods meanwhile."""

    parent_refs: Annotated[list[ParentReference], Field(min_length=1, max_length=8)]
    """The Gateways by which requests come: the HTTPRoute of the deployment's name is theirs."""

    hostnames: Annotated[list[Hostname], *Unique, Field(max_length=16)] = []
    """The names by which clients ask. Default: any."""

    weights: Annotated[list[Percent], *Unique, Field(min_length=1, max_length=16)] = [10, 50]
    """Of a hundred requests those that the new version is given, a step each, the least first. After the last
    one it takes the place of the version before."""

    interval_seconds: Annotated[int, Field(ge=10, le=604_800)] = 300
    """How long a step lasts at least."""

    replicas: Annotated[int, Field(ge=1, le=1024)] = 1
    """Servers of the new version while it is tried."""

    analysis: CanaryAnalysis = Field(default_factory=CanaryAnalysis)
    """What it has to reach, beside that it generates."""
