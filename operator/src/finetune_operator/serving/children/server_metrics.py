"""vLLM's metrics of a deployment's servers, as PromQL selects them."""

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.naming import child_name
from finetune_operator.serving.children.names import server_name


def metric_of_servers(deployment: ModelDeployment, name: str) -> str:
    """Return a metric of its servers, without a canary's: of several nodes the leaders count.

    A Deployment's pods are NAME-HASH-RANDOM; of a long name Kubernetes leaves out the second dash.
    """
    if deployment.spec.nodes > 1:
        pods = f"{child_name(deployment.metadata.name, 'nodes')}-[0-9]+"
    else:
        pods = f"{server_name(deployment)}-[a-z0-9]+(-[a-z0-9]+)?"
    return f'{name}{{namespace="{deployment.metadata.namespace}",pod=~"{pods}"}}'
