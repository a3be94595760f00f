"""The PodDisruptionBudget: a drain takes one replica at a time."""

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.objects import Manifest
from finetune_operator.serving.children.names import child_metadata, selector


def desired_disruption_budget(deployment: ModelDeployment) -> Manifest:
    """Return the budget; it lets a single replica go too, or its node could never be drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": child_metadata(deployment),
        "spec": {
            "maxUnavailable": 1,
            # A server that never becomes ready keeps no node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(deployment)},
        },
    }
