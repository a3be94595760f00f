"""How many replicas a deployment has, by the requests that wait."""

from typing import Annotated, ClassVar

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.rules import Rule

Replicas = Annotated[int, Field(ge=1, le=1024)]


class AutoscalingSpec(ApiModel):
    """A HorizontalPodAutoscaler of the deployment's name, which sets replicas. It needs a metrics API that
    has vLLM's vllm:num_requests_waiting of each pod."""

    min_replicas: Replicas = 1
    """Servers when nobody asks."""

    max_replicas: Replicas
    """Servers at most."""

    waiting_requests: Annotated[int, Field(ge=1, le=100_000)] = 4
    """Requests that wait in each server, on average, above which there are more servers."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.minReplicas <= self.maxReplicas",
            problem="minReplicas is more than maxReplicas",
            remedy="raise maxReplicas, or lower minReplicas",
            field="maxReplicas",
        ),
    )
