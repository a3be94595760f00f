"""The HorizontalPodAutoscaler: it scales the ModelDeployment, as `kubectl scale` does."""

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.objects import Manifest
from finetune_operator.serving.children.names import child_metadata

KIND = "HorizontalPodAutoscaler"
# vLLM's gauge; https://docs.vllm.ai/en/latest/design/metrics
_WAITING = "vllm:num_requests_waiting"
# A server takes minutes to load: one that was needed just now is kept.
_KEPT_SECONDS = 600


def desired_autoscaler(deployment: ModelDeployment) -> Manifest | None:
    """Return the autoscaler; None where replicas is set by hand."""
    autoscaling = deployment.spec.autoscaling
    if autoscaling is None:
        return None
    target = {"type": "AverageValue", "averageValue": str(autoscaling.waiting_requests)}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": KIND,
        "metadata": child_metadata(deployment),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": deployment.api_version,
                "kind": deployment.kind,
                "name": deployment.metadata.name,
            },
            "minReplicas": autoscaling.min_replicas,
            "maxReplicas": autoscaling.max_replicas,
            "metrics": [{"type": "Pods", "pods": {"metric": {"name": _WAITING}, "target": target}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": _KEPT_SECONDS}},
        },
    }
