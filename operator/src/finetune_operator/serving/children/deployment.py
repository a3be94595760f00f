"""The Deployment of vLLM."""

from itertools import starmap

from finetune_operator.api.container import SERVER
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.capacity.host import serving_needs
from finetune_operator.core.compiled import cache_claim, cache_mounts, cache_volumes, server_cache_env
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.core.pod import (
    ContainerSpec,
    PodSpec,
    build_pod_template,
    claim_mount,
    claim_volume,
    env_from_secret,
    env_var,
    image_volume,
    port,
    with_overrides,
)
from finetune_operator.serving.children.adapters import (
    adapter_args,
    adapter_env,
    adapter_mounts,
    adapter_volumes,
)
from finetune_operator.serving.children.names import child_metadata, selector
from finetune_operator.serving.children.signature import signature_check
from finetune_operator.serving.command import model_args, server_command, spec_args
from finetune_operator.serving.cpu import CPU_ARGS, cpu_env
from finetune_operator.serving.gpu import gpu_env
from finetune_operator.serving.model import ServedModel
from finetune_operator.serving.startup import (
    PROBE,
    PROBE_PROGRAM,
    probes,
    reading_seconds,
    startup_seconds,
)
from finetune_operator.serving.tool_calls import tool_call_args

# Endpoints, gateways and load balancers need a moment to learn that a pod goes: it takes requests until then;
# what comes after SIGTERM gets a 500. As long as KServe has it (kserve#5485): a busy node was later than 5.
_UNLISTED_SECONDS = 15
# For the engine's end, after the last request's.
_TEARDOWN_SECONDS = 15


def desired_deployment(deployment: ModelDeployment, model: ServedModel, config: Config) -> Manifest:
    """Return the Deployment that serves this model."""
    spec = deployment.spec
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": with_overrides(child_metadata(deployment), spec.pod_overrides),
        "spec": {
            "replicas": spec.replicas,
            "selector": {"matchLabels": selector(deployment)},
            "strategy": _strategy(deployment),
            "progressDeadlineSeconds": _progress_deadline(deployment, model),
            "template": build_pod_template(server_pod(deployment, model, config), spec.pod_overrides),
        },
    }


def server_pod(deployment: ModelDeployment, model: ServedModel, config: Config) -> PodSpec:
    """Return the pod of a server on one node, before the user's overrides."""
    spec = deployment.spec
    return PodSpec(
        container=_container(deployment, model, config),
        init=signature_check(deployment, model, config),
        labels=selector(deployment),
        volumes=(
            _model_volume(model, config),
            *adapter_volumes(deployment, model),
            *cache_volumes(cache_claim(spec.cache, config)),
            *config.egress.volumes,
        ),
        grace_seconds=spec.termination_grace_period_seconds,
    )


def _model_volume(model: ServedModel, config: Config) -> Manifest:
    if model.image:
        return image_volume(model.image, config.image_pull_policy)
    return claim_volume(model.claim, read_only=True)


def _container(deployment: ModelDeployment, model: ServedModel, config: Config) -> ContainerSpec:
    spec = deployment.spec
    gpus = spec.gpus_per_pod
    return ContainerSpec(
        name=SERVER,
        image=config.images.server,
        image_pull_policy=config.image_pull_policy,
        command=server_command(spec),
        args=_args(deployment, model),
        env=(
            *starmap(env_var, config.egress.variables.items()),
            *_env(deployment, config),
            *adapter_env(model),
        ),
        ports=(port("http", spec.port),),
        requests=serving_needs(
            gpus, processes=max(1, spec.tensor_parallel_size // spec.nodes), model_bytes=model.size_bytes
        ).requests,
        limits={spec.gpu_resource_name: gpus} if gpus else {},
        mounts=(
            claim_mount(read_only=True),
            *adapter_mounts(model),
            *cache_mounts(cache_claim(spec.cache, config)),
            *config.egress.mounts,
        ),
        hooks={
            **probes(startup_seconds(model.size_bytes, spec.gpus_per_replica)),
            "lifecycle": {"preStop": {"sleep": {"seconds": _unlisted_seconds(deployment)}}},
        },
    )


def _args(deployment: ModelDeployment, model: ServedModel) -> tuple[str, ...]:
    """Return vLLM's arguments; the user's come last, so that they win over all but what is trusted."""
    spec = deployment.spec
    return (
        *model_args(spec, model.folder),
        *("--served-model-name", "$(SERVED_MODEL_NAME)"),
        *("--port", "$(SERVING_PORT)"),
        *spec_args(spec),
        *adapter_args(model),
        *(() if spec.gpus_per_replica else CPU_ARGS),
        *tool_call_args(model.base, spec.engine_args),
        # Without it vLLM aborts open requests at SIGTERM.
        *("--shutdown-timeout", str(_drain_seconds(deployment))),
        *spec.engine_args,
        "--trust-remote-code" if spec.trust_remote_code else "--no-trust-remote-code",
    )


def _unlisted_seconds(deployment: ModelDeployment) -> int:
    """Return seconds before SIGTERM; fewer of a short grace, which is for open requests too."""
    return min(_UNLISTED_SECONDS, deployment.spec.termination_grace_period_seconds // 6)


def _drain_seconds(deployment: ModelDeployment) -> int:
    """Return seconds that open requests have: what the kubelet's grace leaves of both ends."""
    grace = deployment.spec.termination_grace_period_seconds
    return grace - _unlisted_seconds(deployment) - _TEARDOWN_SECONDS


def _env(deployment: ModelDeployment, config: Config) -> tuple[Manifest, ...]:
    spec = deployment.spec
    key = (env_from_secret("VLLM_API_KEY", spec.api_key_secret_ref),) if spec.api_key_secret_ref else ()
    return (
        env_var("SERVED_MODEL_NAME", spec.served_model_name or deployment.metadata.name),
        # Not VLLM_PORT, by which vLLM's own processes meet.
        env_var("SERVING_PORT", spec.port),
        env_var(PROBE, PROBE_PROGRAM),
        env_var("HF_HUB_OFFLINE", 1),
        env_var("VLLM_NO_USAGE_STATS", 1),
        *server_cache_env(cache_claim(spec.cache, config)),
        *(gpu_env() if spec.gpus_per_replica else cpu_env(spec.tensor_parallel_size)),
        *key,
    )


def _strategy(deployment: ModelDeployment) -> Manifest:
    rollout = deployment.spec.rollout
    limits = {"maxSurge": rollout.max_surge, "maxUnavailable": rollout.max_unavailable}
    return {"type": "RollingUpdate", "rollingUpdate": limits}


def _progress_deadline(deployment: ModelDeployment, model: ServedModel) -> int:
    """Return seconds beyond the startup allowance, so that the kubelet's verdict comes first."""
    gpus = deployment.spec.gpus_per_replica
    # Read once more before the server starts: to check it, and as an image to pull it.
    before = bool(deployment.spec.model.verify_signature) + bool(model.image)
    allowance = startup_seconds(model.size_bytes, gpus) + before * reading_seconds(model.size_bytes, gpus)
    return deployment.spec.rollout.progress_deadline_seconds or allowance + 600
