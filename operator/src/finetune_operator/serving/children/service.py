"""The Service: one address for clients, whatever the model."""

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.objects import Manifest
from finetune_operator.serving.children.names import SERVE, answering, child_metadata, selector
from finetune_operator.serving.startup import HTTP_PORT


def desired_service(deployment: ModelDeployment, component: str = SERVE) -> Manifest:
    """Return the Service of the pods that answer."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(deployment, component),
        "spec": {
            "selector": answering(deployment) if component == SERVE else selector(deployment, component),
            "ports": [
                {"name": "http", "port": HTTP_PORT, "targetPort": deployment.spec.port, "protocol": "TCP"}
            ],
        },
    }
