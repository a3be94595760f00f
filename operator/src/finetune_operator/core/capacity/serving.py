"""GPU memory of one vLLM server: weights, KV cache, and what vLLM keeps beside them."""

import math
from dataclasses import dataclass

from finetune_operator.core.capacity.architecture import Architecture, Dtype
from finetune_operator.core.capacity.serving_overhead import Overhead, overhead
from finetune_operator.core.capacity.weights import (
    BYTES,
    Matrix,
    draft_projection,
    embedding,
    layer,
    layers_of_stage,
    model_bytes,
)

# vLLM 0.33: config/cache.py.
GPU_MEMORY_UTILIZATION = 0.92


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A model, and how a replica divides it over its GPUs."""

    model: Architecture
    weights: Dtype
    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    """Copies of everything but the routed experts, which they share."""
    length: int | None = None
    """Context length in tokens; the model's own when None."""
    cache: Dtype = "bfloat16"
    draft: bool = False
    """Whether the multi-token layer is loaded, as the draft of speculative decoding."""
    batched_tokens: int = Overhead.batched_tokens
    """Tokens of the largest batch."""
    graphs: bool = True
    """Whether CUDA graphs are captured."""

    @property
    def context_length(self) -> int:
        """Tokens of the longest request."""
        return self.length or self.model.max_position_embeddings

    @property
    def stage_layers(self) -> int:
        """Layers of the fullest pipeline stage, the draft's among them: each keeps a KV cache."""
        return math.ceil(self.model.num_hidden_layers / self.pipeline) + self.draft_layers

    @property
    def draft_layers(self) -> int:
        """Layers of the draft; its embeddings and head are the model's (vLLM's DeepSeekMTP)."""
        return self.model.num_nextn_predict_layers if self.draft else 0


def whole_model_bytes(serving: Serving) -> int:
    """Return the bytes of the weights, on all GPUs together; of the multi-token layer where it drafts."""
    model, dtype = serving.model, serving.weights
    layers = layers_of_stage(model, 1)
    matrices = ((count, m) for experts, count in layers for m in layer(model, experts=experts))
    experts = sum(count * m.size(dtype) for count, m in matrices if m.group == "experts")
    draft = _draft(serving)
    experts += sum(m.size(dtype) for m in draft if m.group == "experts")
    whole = model_bytes(model, dtype) + sum(m.size(dtype) for m in draft)
    return whole + (serving.data - 1) * (whole - experts)


def kv_bytes_per_token(serving: Serving) -> int:
    """Return the bytes of a token in one GPU's KV cache: the MLA latent, whole on every tensor-parallel rank.

    DeepSeek-V2 (arXiv 2405.04434), section 2.1.3: kv_lora_rank + qk_rope_head_dim numbers a layer.
    """
    numbers = serving.model.kv_lora_rank + serving.model.qk_rope_head_dim
    return numbers * serving.stage_layers * BYTES[serving.cache]


def serving_memory(serving: Serving) -> dict[str, int]:
    """Return the bytes of one GPU, by what takes them; the KV cache is that of one longest request."""
    return {
        f"weights in {serving.weights}": _weights(serving),
        f"KV cache of {serving.context_length:,} tokens": serving.context_length
        * kv_bytes_per_token(serving),
        **overhead(
            serving.model,
            Overhead(
                tensor=serving.tensor,
                data=serving.data,
                draft=bool(serving.draft_layers),
                batched_tokens=serving.batched_tokens,
                graphs=serving.graphs,
            ),
        ),
    }


def _weights(serving: Serving) -> int:
    """Return the bytes of a GPU on the fullest stage: divided by tensor parallelism, or whole."""
    model = serving.model
    ends = [embedding(model, "embedding"), embedding(model, "head")]
    if serving.pipeline > 1:
        ends.pop()
    stage = layers_of_stage(model, serving.pipeline)
    shares = (count * _share(m, serving) for experts, count in stage for m in layer(model, experts=experts))
    return math.ceil(sum(shares) + sum(_share(m, serving) for m in (*ends, *_draft(serving))))


def _draft(serving: Serving) -> tuple[Matrix, ...]:
    """Return the matrices of the layer that drafts; none where there is none."""
    model = serving.model
    return serving.draft_layers * (*layer(model, experts=True), draft_projection(model))


def _share(matrix: Matrix, serving: Serving) -> float:
    """Return a GPU's part of a matrix. kv_b_proj is kept once more, in bfloat16, for the decode's absorbed
    products (vLLM's MLAAttention.process_weights_after_loading)."""
    absorbed = matrix.parameters * BYTES["bfloat16"] if matrix.name == "kv_b_proj" else 0
    # Experts go to all GPUs of a stage, with --enable-expert-parallel and without: vLLM's
    # FusedMoEParallelConfig.make.
    ranks = serving.tensor * (serving.data if matrix.group == "experts" else 1)
    return (matrix.size(serving.weights) + absorbed) / (ranks if matrix.divided else 1)
