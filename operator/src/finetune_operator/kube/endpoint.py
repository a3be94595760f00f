"""Where a server is reached on a cluster."""

from collections.abc import Sequence

from finetune_operator.core.observed.child import ObservedChild
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.serving.startup import HTTP_PORT


def endpoint_of(children: Sequence[ObservedChild], _pods: Sequence[ObservedPod]) -> str | None:
    """Return the base URL at the server's Service, once that is there."""
    services = (child.ref for child in children if child.ref.kind == "Service")
    return next((f"http://{ref.name}.{ref.namespace}.svc:{HTTP_PORT}" for ref in services), None)
