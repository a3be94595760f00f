"""From the spec of a server to what it needs; jobs with a deployment and deployments ask the same."""

import re
from collections.abc import Sequence

from finetune_operator.api.deployment import ServingSpec
from finetune_operator.api.quantity import parse_bytes
from finetune_operator.core.capacity.architecture import Dtype, Weights
from finetune_operator.core.capacity.changes import Change, doublings, halvings
from finetune_operator.core.capacity.demand import Demand, FitsReason, gigabytes
from finetune_operator.core.capacity.node import too_many_gpus
from finetune_operator.core.capacity.serving import (
    GPU_MEMORY_UTILIZATION,
    Serving,
    serving_memory,
    whole_model_bytes,
)
from finetune_operator.core.config import Config

_SHORTEST_CONTEXT = 1024


def serving_demands(spec: ServingSpec, weights: Weights | None, config: Config) -> tuple[Demand, ...]:
    """Return what a replica needs: GPUs of a node, all of them for the weights, and each for its part.

    weights: None where nobody knows how large the model is.
    """
    subject = "A replica" if spec.nodes == 1 else f"Each of a replica's {spec.nodes} nodes"
    gpus = too_many_gpus(subject, spec.gpus_per_pod, spec.gpu_resource_name, config.gpus_per_node)
    if weights is None:
        return gpus
    return (*gpus, *_memory_demands(spec, weights, parse_bytes(spec.gpu_memory or config.gpu_memory)))


def serving_of(spec: ServingSpec, weights: Weights) -> Serving:
    """Return how a replica serves a model, by the spec and by vLLM's own arguments, which win."""
    return Serving(
        model=weights.model,
        weights=weights.dtype,
        tensor=spec.tensor_parallel_size,
        pipeline=spec.pipeline_parallel_size,
        data=spec.data_parallel_size,
        length=_length(spec),
        cache=_cache(spec),
        draft=_drafts(spec),
        batched_tokens=_number(spec, "--max-num-batched-tokens") or Serving.batched_tokens,
        graphs="--enforce-eager" not in {word.replace("_", "-") for word in spec.engine_args},
    )


def _memory_demands(spec: ServingSpec, weights: Weights, gpu_memory: int) -> tuple[Demand, ...]:
    serving = serving_of(spec, weights)
    parts, gpus = serving_memory(serving), spec.gpus_per_replica
    whole = {f"weights in {weights.dtype}": whole_model_bytes(serving)}
    if not gpus:
        place = "host memory of each replica"
        return (Demand(subject="Serving", parts=whole, place=place, reason=FitsReason.SERVING_MEMORY),)
    share = utilization(spec)
    return (
        Demand(
            subject=f"Serving in {weights.dtype}",
            parts=whole,
            place="1 GPU" if gpus == 1 else f"{gpus} GPUs",
            available=gpus * gpu_memory,
            reason=FitsReason.SERVING_MEMORY,
        ),
        Demand(
            subject="Serving",
            parts=parts,
            place=f"each GPU, {share:g} of its {gigabytes(gpu_memory)}",
            available=int(share * gpu_memory),
            reason=FitsReason.SERVING_MEMORY,
        ),
    )


def serving_changes(
    spec: ServingSpec, weights: Weights, gpus_per_node: int, prefix: str = ""
) -> Sequence[Change]:
    """Return what can be changed in a server that needs more memory, the nearest first.

    Never to more GPUs than its nodes have. Each copy of what is not divided takes memory of its own.
    """
    length = _length(spec) or weights.model.max_position_embeddings
    lengths = [value for value in halvings(length) if value >= _SHORTEST_CONTEXT]
    tensor, pipeline, data = _degrees(spec)
    most = gpus_per_node * spec.nodes
    return (
        Change(path=f"{prefix}maxModelLen", values=lengths),
        Change(path=f"{prefix}pipelineParallelSize", values=doublings(pipeline, most // (tensor * data))),
        Change(path=f"{prefix}tensorParallelSize", values=doublings(tensor, most // (pipeline * data))),
    )


def fewer_gpus(spec: ServingSpec, prefix: str = "") -> Sequence[Change]:
    """Return what can be changed in a server that asks for more GPUs than a node has."""
    tensor, pipeline, data = _degrees(spec)
    return (
        Change(path=f"{prefix}nodes", values=doublings(spec.nodes, spec.gpus_per_replica)),
        Change(path=f"{prefix}pipelineParallelSize", values=halvings(pipeline)),
        Change(path=f"{prefix}dataParallelSize", values=halvings(data)),
        Change(path=f"{prefix}tensorParallelSize", values=halvings(tensor)),
    )


def _degrees(spec: ServingSpec) -> tuple[int, int, int]:
    return spec.tensor_parallel_size, spec.pipeline_parallel_size, spec.data_parallel_size


def utilization(spec: ServingSpec) -> float:
    """Return the share of a GPU that vLLM takes. What is no share, vLLM itself refuses."""
    given = argument(spec, "--gpu-memory-utilization") or ""
    return float(given) if re.fullmatch(r"[01](\.\d*)?|\.\d+", given) else GPU_MEMORY_UTILIZATION


def _length(spec: ServingSpec) -> int | None:
    return _number(spec, "--max-model-len") or spec.max_model_len


def _number(spec: ServingSpec, name: str) -> int | None:
    given = argument(spec, name)
    return int(given) if given and given.isdigit() else None


def _cache(spec: ServingSpec) -> Dtype:
    return "float8" if (argument(spec, "--kv-cache-dtype") or "").startswith("fp8") else "bfloat16"


def _drafts(spec: ServingSpec) -> bool:
    """Return whether the multi-token layer drafts: by --speculative-config as JSON, or by its method."""
    config = argument(spec, "--speculative-config") or argument(spec, "-sc") or ""
    in_json = re.search(r'"method"\s*:\s*"(\w+)"', config)
    named = (argument(spec, name) for name in ("--speculative-config.method", "--spec-method"))
    method = in_json[1] if in_json else next(filter(None, named), "")
    return method.endswith("mtp")


def argument(spec: ServingSpec, name: str) -> str | None:
    """Return the value of one of vLLM's arguments, given as two words or as NAME=VALUE; the last wins."""
    words = [word for argument in spec.engine_args for word in argument.split("=", 1)]
    named = (i for i in reversed(range(len(words) - 1)) if words[i].replace("_", "-") == name)
    return next((words[i + 1] for i in named), None)
