"""How a server will be run, and why so: what an expert looks at before it starts.

The measurements are those of docs/guides/serving.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from finetune_operator.api.deployment import LoadFormat, ServingSpec
from finetune_operator.api.quantity import parse_bytes
from finetune_operator.core.capacity.architecture import Weights
from finetune_operator.core.capacity.serving import Serving, kv_bytes_per_token, serving_memory
from finetune_operator.core.capacity.serving_demands import argument, serving_of, utilization
from finetune_operator.core.config import Config

_WHY_LOADED: dict[LoadFormat, str] = {
    "auto": "vLLM's own; instanttensor where the volume gives more than 5 GB/s",
    "safetensors": "vLLM's own reader, and no other kind of file",
    "fastsafetensors": "for volumes of more than 5 GB/s",
    "instanttensor": "for volumes of more than 5 GB/s, and no slower than auto from others",
    "runai_streamer": "many reads at a time, for volumes that want them",
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One of them, for people."""

    name: str
    value: str
    why: str


def serving_settings(spec: ServingSpec, weights: Weights | None, config: Config) -> tuple[Setting, ...]:
    """Return them; none on CPUs, and of a model that nobody knows."""
    if weights is None or not spec.gpus_per_replica:
        return ()
    serving = serving_of(spec, weights)
    memory = int(utilization(spec) * parse_bytes(spec.gpu_memory or config.gpu_memory))
    given = argument(spec, "--load-format")
    return (
        *_cache(serving, memory),
        *_division(serving),
        *_experts(spec, serving),
        *_draft(serving),
        Setting(
            name="load format",
            value=given or spec.load_format,
            why="as engineArgs says" if given else _WHY_LOADED[spec.load_format],
        ),
        Setting(
            name="largest batch",
            value=f"{serving.batched_tokens:,} tokens",
            why="longer prompts are read in pieces; --max-num-batched-tokens changes it",
        ),
    )


def _cache(serving: Serving, memory: int) -> Iterator[Setting]:
    """Yield how much of the KV cache there is beside everything else."""
    each = kv_bytes_per_token(serving)
    beside = sum(serving_memory(replace(serving, length=1)).values()) - each
    tokens = max(0, (memory - beside) // each) * serving.data
    if tokens:
        yield Setting(
            name="KV cache",
            value=f"{tokens:,} tokens",
            why=f"what is left: {tokens / serving.context_length:,.1f} requests of "
            f"{serving.context_length:,} tokens at a time; maxModelLen is the longest",
        )


def _division(serving: Serving) -> Iterator[Setting]:
    """Yield how GPUs share the model, where there are several."""
    degrees = {"tensor": serving.tensor, "pipeline": serving.pipeline, "data": serving.data}
    if value := ", ".join(f"{name} {degree}" for name, degree in degrees.items() if degree > 1):
        yield Setting(
            name="parallelism",
            value=value,
            why="each copy of attention has a KV cache of its own, for many requests at a time"
            if serving.data > 1
            else "the KV cache is whole on each GPU; dataParallelSize gives each GPU one of its own",
        )


def _experts(spec: ServingSpec, serving: Serving) -> Iterator[Setting]:
    """Yield how GPUs share the experts, where there are several of both."""
    if serving.model.moe_layers and spec.gpus_per_replica > spec.pipeline_parallel_size:
        given = "--enable-expert-parallel" in {word.replace("_", "-") for word in spec.engine_args}
        whole = given or spec.expert_parallel
        yield Setting(
            name="experts",
            value="whole, each on one GPU" if whole else "a part of each on every GPU",
            why="as expertParallel says" if whole else "expertParallel: true gives each GPU whole ones",
        )


def _draft(serving: Serving) -> Iterator[Setting]:
    """Yield whether the multi-token layer drafts; nothing for a model without one."""
    if not serving.model.num_nextn_predict_layers:
        return
    if serving.draft:
        yield Setting(
            name="draft",
            value="multi-token layer",
            why="for few requests at a time; if few tokens are accepted it only costs",
        )
    else:
        yield Setting(
            name="draft",
            value="none",
            why="--speculative-config turns it on, for few requests at a time and tokens that are accepted",
        )
