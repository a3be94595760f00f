"""How a new version of a deployment takes the place of the old one."""

from typing import Annotated, ClassVar

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.canary import CanarySpec
from finetune_operator.api.formats import IntOrPercentage
from finetune_operator.api.rules import Rule


class RolloutSpec(ApiModel):
    """How new pods replace old ones."""

    max_surge: IntOrPercentage = 0
    """Pods above replicas while rolling; spare GPUs are rare."""

    max_unavailable: IntOrPercentage = 1
    """Pods below replicas while rolling."""

    rollback: bool = True
    """Go back to the last pods that were available when new ones are not ready in time."""

    progress_deadline_seconds: Annotated[int, Field(ge=60, le=2**31 - 1)] | None = None
    """Seconds a rollout may stand still before it counts as failed. Default: 600 more than loading
    may take."""

    canary: CanarySpec | None = None
    """Give a new version a share of the requests first. Default: its pods replace the old ones at once."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.canary) || self.rollback",
            problem="a canary that fails gives way to the version before",
            remedy="leave it out, or remove canary",
            field="rollback",
        ),
        Rule(
            rule="!(string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",
            problem="maxSurge and maxUnavailable are both 0, and so no pod can be replaced",
            remedy="set maxSurge to 1 where GPUs are spare, or maxUnavailable to 1",
            field="maxUnavailable",
        ),
    )
