"""The NetworkPolicy: clients reach the API and nothing else, and a server reaches nothing but names."""

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.network import TO_DNS, policy_spec, tcp
from finetune_operator.core.objects import Manifest
from finetune_operator.serving.children.names import SERVE, child_metadata, selector


def desired_network_policy(deployment: ModelDeployment, component: str = SERVE) -> Manifest:
    """Return the policy of the server's pods.

    The model comes from the volume, and processes meet inside their pod, which no policy can part; those of
    several nodes take any port between each other. Policies add up: one of the user's own over the same pods
    opens more.
    """
    pods = [{"podSelector": {"matchLabels": selector(deployment)}}] if deployment.spec.nodes > 1 else []
    among = [{"from": pods}] if pods else [], [{"to": pods}] if pods else []
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": child_metadata(deployment, component),
        "spec": policy_spec(
            selector(deployment, component),
            ingress=[{"ports": tcp(deployment.spec.port)}, *among[0]],
            egress=[TO_DNS, *among[1]],
        ),
    }
