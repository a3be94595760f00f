"""Names and labels of the children: the same whatever the model, so that clients keep their address."""

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.labels import WORKER_INDEX, child_labels, selector_labels
from finetune_operator.core.naming import child_name
from finetune_operator.core.objects import Manifest, Owner

SERVE = "serve"
CANARY = "canary"
"""The component of a new version that is tried: its pods are behind a Service of their own."""


def server_name(deployment: ModelDeployment, component: str = SERVE) -> str:
    """Return the name of every child of a component."""
    parts = () if component == SERVE else (component,)
    return child_name(deployment.metadata.name, *parts)


def selector(deployment: ModelDeployment, component: str = SERVE) -> dict[str, str]:
    """Return the labels that select the server's pods."""
    return selector_labels(deployment.metadata.name, component)


def answering(deployment: ModelDeployment) -> dict[str, str]:
    """Return the labels that select the pods that answer: of several nodes the leader."""
    leader = {WORKER_INDEX: "0"} if deployment.spec.nodes > 1 else {}
    return {**selector(deployment), **leader}


def child_metadata(deployment: ModelDeployment, component: str = SERVE) -> Manifest:
    """Return the metadata of a child."""
    owner = Owner(
        api_version=deployment.api_version,
        kind=deployment.kind,
        namespace=deployment.metadata.namespace,
        name=deployment.metadata.name,
        uid=deployment.metadata.uid,
    )
    return {
        "name": server_name(deployment, component),
        "namespace": deployment.metadata.namespace,
        "labels": child_labels(deployment.metadata.name, component),
        "ownerReferences": [owner.reference],
    }
