"""The HTTPRoute by which clients' requests are shared between the version that serves and one that is tried.

https://gateway-api.sigs.k8s.io/guides/user-guides/traffic-splitting/
"""

from finetune_operator.api.canary import CanarySpec
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.objects import Manifest, without_empty
from finetune_operator.core.observed.http_route import HTTP_ROUTE, HTTP_ROUTE_VERSION
from finetune_operator.serving.children.names import CANARY, SERVE, child_metadata, server_name
from finetune_operator.serving.startup import HTTP_PORT


def desired_http_route(deployment: ModelDeployment, canary: CanarySpec, weight: int) -> Manifest:
    """Return the route. weight: of a hundred requests those of the canary."""
    shares = {SERVE: 100 - weight, CANARY: weight}
    # A backend that is not there is an error of the whole route, whatever its weight.
    backends = [_backend(deployment, component, share) for component, share in shares.items() if share]
    return {
        "apiVersion": HTTP_ROUTE_VERSION,
        "kind": HTTP_ROUTE,
        "metadata": child_metadata(deployment),
        "spec": without_empty(
            {
                "parentRefs": [each.to_dict() for each in canary.parent_refs],
                "hostnames": canary.hostnames,
                "rules": [{"backendRefs": backends}],
            }
        ),
    }


def _backend(deployment: ModelDeployment, component: str, share: int) -> Manifest:
    return {"name": server_name(deployment, component), "port": HTTP_PORT, "weight": share}
