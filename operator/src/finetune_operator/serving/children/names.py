"""Names and labels of the children: the same whatever the model, so that clients keep their address."""

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.labels import WORKER_INDEX, child_labels, selector_labels
from finetune_operator.core.naming import child_name
from finetune_operator.core.objects import Manifest, Owner

COMPONENT = "serve"


def server_name(deployment: ModelDeployment) -> str:
    """Return the name of every child."""
    return child_name(deployment.metadata.name)


def selector(deployment: ModelDeployment) -> dict[str, str]:
    """Return the labels that select the server's pods."""
    return selector_labels(deployment.metadata.name, COMPONENT)


def answering(deployment: ModelDeployment) -> dict[str, str]:
    """Return the labels that select the pods that answer: of several nodes the leader."""
    leader = {WORKER_INDEX: "0"} if deployment.spec.nodes > 1 else {}
    return {**selector(deployment), **leader}


def child_metadata(deployment: ModelDeployment) -> Manifest:
    """Return the metadata of a child."""
    owner = Owner(
        api_version=deployment.api_version,
        kind=deployment.kind,
        namespace=deployment.metadata.namespace,
        name=deployment.metadata.name,
        uid=deployment.metadata.uid,
    )
    return {
        "name": server_name(deployment),
        "namespace": deployment.metadata.namespace,
        "labels": child_labels(deployment.metadata.name, COMPONENT),
        "ownerReferences": [owner.reference],
    }
