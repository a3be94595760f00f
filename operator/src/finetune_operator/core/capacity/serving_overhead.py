"""What vLLM keeps on a GPU beside weights and KV cache, before it sizes the cache.

Read from vLLM 0.33's sources and fitted to its logs on H200s, one and two (TP=2), within 5 %:
bench/results/2026-11-28-serve-gpu-answers.json and 2026-11-28-serve-gpus-tensor.json. Of more GPUs nothing
was measured: what deeper models may need besides is kept.
"""

from dataclasses import dataclass

from finetune_operator.core.capacity.architecture import Architecture

# CUDA's context, kernels and libraries. What NCCL takes of two GPUs is gone before vLLM begins to count.
_CONTEXT = 1_010_000_000
# What vLLM 0.11's log of 671B at TP=8 leaves beside the other parts.
_NCCL = 2_600_000_000
# Graphs of pieces, and the largest of the whole model: 4.33 GiB, as much again of a draft, 2.25 at TP=2.
_GRAPHS = 4_650_000_000
# vLLM captures graphs of 51 sizes up to 512 tokens, and sets aside for each whole one but the first two what
# the largest took: v1/worker/gpu/cudagraph_utils.py, profile_cudagraph_memory. They take less.
_ESTIMATED_GRAPHS, _TOKENS_OF_A_GRAPH = 49, 504
# Rows of the context that a chunk of a prompt reads: vLLM's MLACommonMetadataBuilder, for 1,024 requests.
_CONTEXT_ROWS = 65_536
_BFLOAT16 = 2
_MEASURED_GPUS = 2


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """How a server is started, as far as it decides what is kept."""

    tensor: int = 1
    data: int = 1
    """Copies of attention, on GPUs of their own."""
    draft: bool = False
    """Whether a multi-token layer drafts."""
    batched_tokens: int = 8192
    """Tokens of the largest batch: --max-num-batched-tokens; vLLM's own on GPUs of 70 GB and more."""
    graphs: bool = True
    """Not with --enforce-eager."""


def overhead(model: Architecture, given: Overhead) -> dict[str, int]:
    """Return bytes, by what takes them."""
    nccl = _NCCL if given.tensor * given.data > _MEASURED_GPUS else 0
    parts = {
        "CUDA and NCCL" if nccl else "CUDA": _CONTEXT + nccl,
        f"activations of {given.batched_tokens:,} tokens": _activation_bytes(model, given),
    }
    if given.graphs:
        parts["graphs, as vLLM estimates them"] = _graph_bytes(model, given)
    return parts


def _activation_bytes(model: Architecture, given: Overhead) -> int:
    """Return the bytes of the largest batch: the larger of attention, whose keys and values of the context
    before a prompt's chunk come beside its queries, and of the experts, beside the state and its residual; a
    draft's workspace and what it joins."""
    heads, tokens = model.num_attention_heads // given.tensor, given.batched_tokens
    context = _CONTEXT_ROWS * (model.qk_nope_head_dim + model.v_head_dim)
    attention = heads * (context + tokens * model.qk_head_dim)
    experts = tokens * _expert_numbers(model, given)
    draft = tokens * (_draft_numbers(model) + 6 * model.hidden_size) if given.draft else 0
    return _BFLOAT16 * (max(attention, experts) + 2 * tokens * model.hidden_size + draft)


def _graph_bytes(model: Architecture, given: Overhead) -> int:
    """Return the bytes of all graphs as estimated: the largest keeps a decode's queries, as they are and as
    wide as the latent, what they bring from it, and a state."""
    widths = model.qk_head_dim + 2 * model.kv_lora_rank + model.qk_rope_head_dim
    numbers = model.num_attention_heads // given.tensor * widths + model.hidden_size
    whole = (2 if given.draft else 1) * _GRAPHS // (2 if given.tensor == _MEASURED_GPUS else 1)
    return whole + _ESTIMATED_GRAPHS * _BFLOAT16 * _TOKENS_OF_A_GRAPH * numbers


def _expert_numbers(model: Architecture, given: Overhead) -> int:
    """Return the numbers of a token in the experts' workspace (vLLM's fused_moe.py), for each expert that it
    goes to: gate and up, later the output in their place, and their product."""
    inner = model.moe_intermediate_size // given.tensor
    return model.num_experts_per_tok * (max(2 * inner, model.hidden_size) + inner)


def _draft_numbers(model: Architecture) -> int:
    """Return the numbers of a token in the experts' workspace of a draft, as far as it was measured."""
    return model.num_experts_per_tok * (3 * model.moe_intermediate_size + model.hidden_size)
