"""The LeaderWorkerSet of vLLM on several nodes: one group of pods a replica, of which the leader answers.

https://lws.sigs.k8s.io/docs/reference/leaderworkerset.v1/
"""

from dataclasses import replace
from pathlib import Path

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.config import Config
from finetune_operator.core.naming import child_name
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.leader_worker_set import LEADER_WORKER_SET, LEADER_WORKER_SET_VERSION
from finetune_operator.core.pod import (
    ContainerSpec,
    PodSpec,
    build_pod_template,
    env_from_field,
    with_overrides,
)
from finetune_operator.serving.children.deployment import server_pod
from finetune_operator.serving.children.names import child_metadata
from finetune_operator.serving.command import ONE_API_SERVER, VLLM_SERVE
from finetune_operator.serving.model import ServedModel

MASTER_PORT = 29501
_OUTLIVES = (Path(__file__).parents[1] / "outlives.py").read_text(encoding="utf-8")


def desired_leader_worker_set(deployment: ModelDeployment, model: ServedModel, config: Config) -> Manifest:
    """Return the LeaderWorkerSet that serves this model."""
    spec = deployment.spec
    leader = _of_group(server_pod(deployment, model, config), spec.nodes)
    worker = replace(leader, container=_worker(leader.container))
    metadata = child_metadata(deployment)
    # Its controller makes a headless Service of its name, and the server's Service has the other one.
    metadata["name"] = child_name(deployment.metadata.name, "nodes")
    return {
        "apiVersion": LEADER_WORKER_SET_VERSION,
        "kind": LEADER_WORKER_SET,
        "metadata": with_overrides(metadata, spec.pod_overrides),
        "spec": {
            "replicas": spec.replicas,
            "startupPolicy": "LeaderCreated",  # they become ready by meeting
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": {
                    "maxSurge": spec.rollout.max_surge,
                    "maxUnavailable": spec.rollout.max_unavailable,
                },
            },
            "leaderWorkerTemplate": {
                "size": spec.nodes,
                # A process group that lost a rank does not take it back.
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": build_pod_template(leader, spec.pod_overrides),
                "workerTemplate": build_pod_template(worker, spec.pod_overrides),
            },
        },
    }


def _of_group(pod: PodSpec, nodes: int) -> PodSpec:
    """Return the leader's pod; the two LWS_ variables are put into each container by LWS' webhook."""
    container = replace(
        pod.container,
        args=(
            *pod.container.args,
            *("--nnodes", str(nodes)),
            *("--node-rank", "$(LWS_WORKER_INDEX)"),
            *("--master-addr", "$(LWS_LEADER_ADDRESS)"),
            *("--master-port", str(MASTER_PORT)),
        ),
        # Where other nodes reach its queues; vLLM's own guess asks a route to 8.8.8.8.
        env=(*pod.container.env, env_from_field("VLLM_HOST_IP", "status.podIP")),
    )
    return replace(pod, container=container)


def _worker(leader: ContainerSpec) -> ContainerSpec:
    """Return the container with its part of the model, and no requests: it is well when the leader is."""
    outlive = ["python", "-c", _OUTLIVES, str(MASTER_PORT)]
    return replace(
        leader,
        command=VLLM_SERVE,
        # It has no API, and refuses to be told of one.
        args=(*(word for word in leader.args if word != ONE_API_SERVER), "--headless"),
        ports=(),
        hooks={"lifecycle": {"preStop": {"exec": {"command": outlive}}}},
    )
