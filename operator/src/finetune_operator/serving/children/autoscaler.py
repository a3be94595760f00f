"""What sets replicas: it scales the ModelDeployment, as `kubectl scale` does.

https://keda.sh/docs/latest/reference/scaledobject-spec
"""

from collections.abc import Collection

from finetune_operator.api.autoscaling import AutoscalingSpec, PrometheusSpec
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.objects import Manifest, Ref, without_empty
from finetune_operator.serving.children.names import child_metadata
from finetune_operator.serving.children.server_metrics import metric_of_servers

AUTOSCALER, AUTOSCALER_VERSION = "HorizontalPodAutoscaler", "autoscaling/v2"
SCALED_OBJECT, SCALED_OBJECT_VERSION = "ScaledObject", "keda.sh/v1alpha1"
AUTOSCALERS = {AUTOSCALER: AUTOSCALER_VERSION, SCALED_OBJECT: SCALED_OBJECT_VERSION}
# vLLM's gauges; https://docs.vllm.ai/en/latest/design/metrics
_WAITING, _RUNNING = "vllm:num_requests_waiting", "vllm:num_requests_running"
# Of a trigger that says whether there is a server, and never how many.
_NEVER_MORE = "1000000000"


def autoscaler_kind(deployment: ModelDeployment) -> str | None:
    """Return what scales it; None where replicas is set by hand."""
    autoscaling = deployment.spec.autoscaling
    if autoscaling is None:
        return None
    return SCALED_OBJECT if autoscaling.prometheus else AUTOSCALER


def desired_autoscaler(deployment: ModelDeployment, there: Collection[Ref]) -> Manifest | None:
    """Return the autoscaler; None where there is none, or one of the other kind has to go first.

    KEDA refuses to scale what a HorizontalPodAutoscaler scales, and two of these would not scale at all.
    """
    kind, autoscaling = autoscaler_kind(deployment), deployment.spec.autoscaling
    if autoscaling is None or kind is None or any(ref.kind in AUTOSCALERS.keys() - {kind} for ref in there):
        return None
    prometheus = autoscaling.prometheus
    return {
        "apiVersion": AUTOSCALERS[kind],
        "kind": kind,
        "metadata": child_metadata(deployment),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": deployment.api_version,
                "kind": deployment.kind,
                "name": deployment.metadata.name,
            },
            **(_by_prometheus(deployment, autoscaling, prometheus) if prometheus else _by_pods(autoscaling)),
        },
    }


def _by_pods(autoscaling: AutoscalingSpec) -> Manifest:
    target = {"type": "AverageValue", "averageValue": str(autoscaling.waiting_requests)}
    return {
        "minReplicas": autoscaling.min_replicas,
        "maxReplicas": autoscaling.max_replicas,
        "metrics": [{"type": "Pods", "pods": {"metric": {"name": _WAITING}, "target": target}}],
        "behavior": _behavior(autoscaling),
    }


def _by_prometheus(
    deployment: ModelDeployment, autoscaling: AutoscalingSpec, prometheus: PrometheusSpec
) -> Manifest:
    waiting, running = (metric_of_servers(deployment, name) for name in (_WAITING, _RUNNING))
    triggers = [_trigger(prometheus, "waiting", f"sum({waiting})", str(autoscaling.waiting_requests))]
    if prometheus.wake_query:
        triggers += [
            # One that answers is not taken away, though nobody waits.
            _trigger(prometheus, "running", f"sum({running})", _NEVER_MORE),
            _trigger(prometheus, "wake", prometheus.wake_query, _NEVER_MORE),
        ]
    to_none = {
        "cooldownPeriod": autoscaling.kept_seconds,
        # Otherwise KEDA would end the first one before it has loaded.
        "initialCooldownPeriod": autoscaling.kept_seconds,
    }
    return {
        "minReplicaCount": autoscaling.min_replicas,
        "maxReplicaCount": autoscaling.max_replicas,
        **(to_none if autoscaling.min_replicas == 0 else {}),
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(autoscaling)}},
        "triggers": triggers,
    }


def _behavior(autoscaling: AutoscalingSpec) -> Manifest:
    # A server takes minutes to load: one that was needed just now is kept.
    return {"scaleDown": {"stabilizationWindowSeconds": autoscaling.kept_seconds}}


def _trigger(prometheus: PrometheusSpec, name: str, query: str, threshold: str) -> Manifest:
    reference = prometheus.authentication_ref
    metadata = {
        "serverAddress": prometheus.server_address,
        "query": query,
        "threshold": threshold,
        "authModes": ",".join(prometheus.auth_modes) or None,
    }
    return without_empty(
        {
            "type": "prometheus",
            "name": name,
            "metadata": without_empty(metadata),
            "authenticationRef": reference.to_dict() if reference else None,
        }
    )
