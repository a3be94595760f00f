"""What a pod computes on."""

from typing import Literal

from finetune_operator.api.rules import Rule

Device = Literal["gpu", "cpu"]


def only_with_gpus(field: str) -> Rule:
    """Return the rule that refuses what says something of GPUs where there are none."""
    return Rule(
        rule=f"self.device == 'gpu' || !has(self.{field})",
        problem="device is cpu, which has no GPUs",
        remedy="remove it, or set device to gpu",
        field=field,
    )
