"""The servers of a version that is tried beside the one that serves, their Service and their policy."""

from collections.abc import Iterator

from finetune_operator.api.canary import CanarySpec
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.labels import ROLLOUT
from finetune_operator.core.objects import Manifest
from finetune_operator.serving.children.names import CANARY, selector, server_name
from finetune_operator.serving.children.network_policy import desired_network_policy
from finetune_operator.serving.children.service import desired_service
from finetune_operator.serving.rollout import Rollout


def desired_canary(
    deployment: ModelDeployment, canary: CanarySpec, server: Manifest, rollout: Rollout
) -> Iterator[Manifest]:
    """Yield the children of a canary.

    server: the Deployment that serves; the canary's differs in its template, its labels and its size.
    """
    yield desired_service(deployment, CANARY)
    yield desired_network_policy(deployment, CANARY)
    labels = selector(deployment, CANARY)
    metadata, template = server["metadata"], rollout.newest.template
    yield {
        **server,
        "metadata": {
            **metadata,
            "name": server_name(deployment, CANARY),
            "labels": {**metadata["labels"], **labels},
            # Which version it tries: after a change of the spec its status is of the one before for a moment.
            "annotations": {**metadata.get("annotations", {}), ROLLOUT: rollout.attempt},
        },
        "spec": {
            **server["spec"],
            "replicas": canary.replicas if deployment.spec.replicas else 0,
            "selector": {"matchLabels": labels},
            # Its GPUs are those of the canary before. It is Available, then, when all its pods are ready.
            "strategy": {"type": "Recreate"},
            "template": _labelled(template, labels),
        },
    }


def _labelled(template: Manifest, labels: dict[str, str]) -> Manifest:
    metadata = template["metadata"]
    return {**template, "metadata": {**metadata, "labels": {**metadata["labels"], **labels}}}
