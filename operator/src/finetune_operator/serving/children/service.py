"""The Service: one address for clients, whatever the model."""

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.objects import Manifest
from finetune_operator.serving.children.names import answering, child_metadata
from finetune_operator.serving.startup import HTTP_PORT


def desired_service(deployment: ModelDeployment) -> Manifest:
    """Return the Service of the pods that answer."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(deployment),
        "spec": {
            "selector": answering(deployment),
            "ports": [
                {"name": "http", "port": HTTP_PORT, "targetPort": deployment.spec.port, "protocol": "TCP"}
            ],
        },
    }
