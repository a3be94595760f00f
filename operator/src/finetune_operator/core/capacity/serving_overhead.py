"""What vLLM keeps on a GPU beside weights and KV cache, before it sizes the cache.

Read from vLLM 0.33's sources and fitted to its logs on one H200, within 5 %:
bench/results/2026-11-28-serve-gpu-answers.json. With tensor parallelism it is arithmetic.
"""

from dataclasses import dataclass

from finetune_operator.core.capacity.architecture import Architecture

# CUDA's context, kernels and libraries: "non-torch" in the logs, 2.44 GiB.
_CONTEXT = 2_620_000_000
# What vLLM 0.11's log of 671B at TP=8 leaves beside the other parts.
_NCCL = 700_000_000
# Graphs of pieces, and the largest of the whole model: 4.33 GiB, and as much again of a draft.
_GRAPHS = 4_650_000_000
# vLLM captures graphs of 51 sizes up to 512 tokens, and sets aside for each whole one but the first two what
# the largest took: v1/worker/gpu/cudagraph_utils.py, profile_cudagraph_memory. They take less.
_ESTIMATED_GRAPHS, _TOKENS_OF_A_GRAPH = 49, 504
_BFLOAT16 = 2


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
    nccl = _NCCL if given.tensor * given.data > 1 else 0
    parts = {
        "CUDA and NCCL" if nccl else "CUDA": _CONTEXT + nccl,
        f"activations of {given.batched_tokens:,} tokens": given.batched_tokens
        * _activation_bytes(model, given),
    }
    if given.graphs:
        parts["graphs, as vLLM estimates them"] = _graph_bytes(model, given)
    return parts


def _activation_bytes(model: Architecture, given: Overhead) -> int:
    """Return the bytes of a token while it is read: attention's heads beside the experts' workspace, which is
    kept, the state and its residual; a draft's workspace and what it joins."""
    heads = model.num_attention_heads // given.tensor
    attention = heads * 2 * (model.qk_head_dim + model.v_head_dim)
    draft = _expert_numbers(model, given) + 6 * model.hidden_size if given.draft else 0
    return _BFLOAT16 * (attention + _expert_numbers(model, given) + 2 * model.hidden_size + draft)


def _graph_bytes(model: Architecture, given: Overhead) -> int:
    """Return the bytes of all graphs as estimated: a decode's queries are as wide as the latent."""
    queries = model.num_attention_heads // given.tensor * (model.kv_lora_rank + model.qk_rope_head_dim)
    of_one = _BFLOAT16 * _TOKENS_OF_A_GRAPH * (_expert_numbers(model, given) + queries)
    return (2 if given.draft else 1) * _GRAPHS + _ESTIMATED_GRAPHS * of_one


def _expert_numbers(model: Architecture, given: Overhead) -> int:
    """Return the numbers of a token in the experts' workspace (vLLM's fused_moe.py): gate and up, their
    product, and the output, for each expert that it goes to."""
    return model.num_experts_per_tok * (3 * model.moe_intermediate_size // given.tensor + model.hidden_size)
