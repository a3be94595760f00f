"""What the pod of an evaluation has that others have not: vLLM, as it would serve, and its GPUs."""

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.capacity.architecture import Architecture
from finetune_operator.core.capacity.host import HostNeeds, serving_needs
from finetune_operator.core.capacity.weights import checkpoint_bytes
from finetune_operator.core.objects import Manifest
from finetune_operator.core.pod import env_var
from finetune_operator.finetune.evaluation import evaluation_server
from finetune_operator.finetune.fits import evaluated_weights
from finetune_operator.serving.command import spec_args
from finetune_operator.serving.cpu import CPU_ARGS, cpu_env
from finetune_operator.serving.gpu import gpu_env
from finetune_operator.serving.tool_calls import tool_call_args


def server_args(job: FineTuneJob) -> tuple[str, ...]:
    """Return vLLM's arguments, after the stage's own; the model and the port are the stage's to add."""
    server = evaluation_server(job.spec)
    return (
        "--",
        *spec_args(server),
        *(() if server.gpus_per_replica else CPU_ARGS),
        *tool_call_args(job.spec.model.uri, server.engine_args),
        *server.engine_args,
        "--trust-remote-code" if server.trust_remote_code else "--no-trust-remote-code",
    )


def server_env(job: FineTuneJob) -> tuple[Manifest, ...]:
    """Return vLLM's variables."""
    server = evaluation_server(job.spec)
    on_device = gpu_env() if server.gpus_per_replica else cpu_env(server.tensor_parallel_size)
    return (env_var("VLLM_NO_USAGE_STATS", 1), *on_device)


def server_devices(job: FineTuneJob) -> Manifest:
    """Return the GPUs, as limits."""
    server = evaluation_server(job.spec)
    return {server.gpu_resource_name: server.gpus_per_replica} if server.gpus_per_replica else {}


def server_needs(job: FineTuneJob, told: Architecture | None) -> HostNeeds:
    """Return what it requests of its host; on CPUs base and merged model are asked side by side."""
    server = evaluation_server(job.spec)
    sizes = [checkpoint_bytes(weights.model, weights.dtype) for weights in evaluated_weights(job.spec, told)]
    return serving_needs(
        server.gpus_per_replica, processes=server.tensor_parallel_size, model_bytes=sum(sizes) or None
    )
