"""How many replicas a deployment has, by the requests that wait."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import HTTP_URL_PATTERN, ObjectName, Unique
from finetune_operator.api.rules import Rule

Replicas = Annotated[int, Field(ge=1, le=1024)]
ServerAddress = Annotated[str, StringConstraints(pattern=HTTP_URL_PATTERN, max_length=2048)]
Query = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class TriggerAuthenticationRef(ApiModel):
    """KEDA's own object with the credentials, as its documentation describes it."""

    name: ObjectName
    """Its name."""

    kind: Literal["TriggerAuthentication", "ClusterTriggerAuthentication"] = "TriggerAuthentication"
    """Of the deployment's namespace, or of the cluster."""


class PrometheusSpec(ApiModel):
    """Where KEDA asks how many requests wait. The metrics of the servers' pods have to be there with the
    labels namespace and pod, as a PodMonitor gives them."""

    server_address: ServerAddress
    """Prometheus' address, such as http://prometheus.monitoring:9090, or that of what answers as it does."""

    wake_query: Query | None = None
    """What is above 0 while somebody asks, such as the requests at a gateway: one number, by PromQL. It
    starts the first server where minReplicas is 0, as no server is there that could count."""

    authentication_ref: TriggerAuthenticationRef | None = None
    """With which credentials. Default: without any."""

    auth_modes: Annotated[
        list[Literal["basic", "bearer", "tls", "custom"]], *Unique, Field(max_length=4)
    ] = []
    """Which of them are shown, by KEDA's names. Default: none."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="size(self.authModes) == 0 || has(self.authenticationRef)",
            problem="nothing says where these credentials are",
            remedy="set authenticationRef to KEDA's TriggerAuthentication, or remove it",
            field="authModes",
        ),
    )


class AutoscalingSpec(ApiModel):
    """An autoscaler of the deployment's name, which sets replicas: a HorizontalPodAutoscaler, which needs a
    metrics API that has vLLM's vllm:num_requests_waiting of each pod; or with prometheus a ScaledObject,
    which needs KEDA."""

    min_replicas: Annotated[int, Field(ge=0, le=1024)] = 1
    """Servers when nobody asks; 0 takes prometheus."""

    max_replicas: Replicas
    """Servers at most."""

    waiting_requests: Annotated[int, Field(ge=1, le=100_000)] = 4
    """Requests that wait in each server, on average, above which there are more servers."""

    kept_seconds: Annotated[int, Field(ge=0, le=3600)] = 600
    """How long a server that was needed is kept. From none to one it has to load within that time, unless
    wakeQuery stays above 0."""

    prometheus: PrometheusSpec | None = None
    """Have KEDA scale, by what Prometheus knows. Default: a HorizontalPodAutoscaler."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.minReplicas <= self.maxReplicas",
            problem="minReplicas is more than maxReplicas",
            remedy="raise maxReplicas, or lower minReplicas",
            field="maxReplicas",
        ),
        Rule(
            rule="self.minReplicas > 0 || has(self.prometheus)",
            problem="a HorizontalPodAutoscaler keeps one server at least",
            remedy="set prometheus, by which KEDA scales to none, or set it to 1",
            field="minReplicas",
        ),
        Rule(
            rule="self.minReplicas > 0 || !has(self.prometheus) || has(self.prometheus.wakeQuery)",
            problem="minReplicas is 0, and a server that is not there counts no requests",
            remedy="set it to a query of what counts them then, such as a gateway, or set minReplicas to 1",
            field="prometheus.wakeQuery",
        ),
        Rule(
            rule="self.minReplicas == 0 || !has(self.prometheus) || !has(self.prometheus.wakeQuery)",
            problem="nothing is to be woken, as minReplicas is not 0",
            remedy="remove it, or set minReplicas to 0",
            field="prometheus.wakeQuery",
        ),
    )
