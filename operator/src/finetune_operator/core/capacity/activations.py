"""What the forward pass keeps for the backward pass: numbers a token in a layer, and the logits.

Counted from torchtitan's DeepSeek-V3 with a frozen base: a frozen matrix needs no input kept, as there is no
gradient of its weights. What is as wide as LoRA's rank is left out.
"""

from collections.abc import Sequence
from typing import Literal

from finetune_operator.core.capacity.adapters import is_adapted
from finetune_operator.core.capacity.architecture import Architecture
from finetune_operator.core.capacity.weights import Matrix, layer

Recompute = Literal["none", "selective", "full"]

# Logits and loss are computed in pieces of that many tokens: LOGITS_TOKENS of the trainer's config.py.
LOGITS_TOKENS = 4096
# A logit and its gradient, in bfloat16: the compiled loss keeps nothing else of it.
LOGIT_BYTES = 2 * 2


def kept_numbers(
    model: Architecture, targets: Sequence[str], recompute: Recompute, *, experts: bool, dispatched: bool
) -> int:
    """Return the numbers a token that a layer keeps. dispatched: its experts are on other ranks."""
    if recompute == "none":
        return _everything(model, experts=experts)
    if recompute == "full":
        return model.hidden_size
    return _selected(model, targets, experts=experts, dispatched=dispatched)


def kept_at_the_end(model: Architecture) -> int:
    """Return the numbers a token of the last norm: its input, its output and the gradient of that."""
    return 3 * model.hidden_size


def attention_numbers(model: Architecture) -> int:
    """Return the numbers a token that attention has kept where it is not computed again."""
    latents = model.q_lora_rank + model.kv_lora_rank + model.qk_rope_head_dim
    of_heads = 2 * model.qk_head_dim + model.qk_nope_head_dim + 2 * model.v_head_dim
    return 2 * model.hidden_size + latents + model.num_attention_heads * of_heads


def attention_gradients(model: Architecture) -> int:
    """Return the numbers a token of the gradients of q, k, v and of what attention gives."""
    return model.num_attention_heads * 2 * (model.qk_head_dim + model.v_head_dim)


def dropped_numbers(model: Architecture, targets: Sequence[str], *, experts: bool) -> int:
    """Return the numbers a token that dropout adds where a layer is not computed again.

    Each adapter's input is dropped in a way of its own.
    """
    adapted = (m for m in layer(model, experts=experts) if is_adapted(m, targets))
    return sum(m.columns * (model.num_experts_per_tok if m.group == "experts" else 1) for m in adapted)


def _everything(model: Architecture, *, experts: bool) -> int:
    """Return what is kept without recomputing.

    The block's input, as it is and normed, the latents, q, k, the expanded keys and values, and the output of
    attention; the feed-forward's input, gates and ups; of routed experts also the outputs, as their products
    with the scores are summed.
    """
    h, topk, mla = model.hidden_size, model.num_experts_per_tok, attention_numbers(model)
    if not experts:
        return mla + h + 2 * model.intermediate_size
    shared = 2 * model.n_shared_experts * model.moe_intermediate_size
    return mla + h + shared + topk * (2 * model.moe_intermediate_size + h)


def _selected(model: Architecture, targets: Sequence[str], *, experts: bool, dispatched: bool) -> int:
    """Return what torchtitan's SelectiveAC keeps.

    The block's input, attention's output, every second matrix product (an adapter is two more), and what
    experts on other ranks were sent and sent back. Grouped products are computed again.
    """
    products = (m for m in layer(model, experts=experts) if m.group in ("attention", "mlp"))
    outputs = sum(_outputs(m, targets) for m in products) // 2
    sent = 2 * model.num_experts_per_tok * model.hidden_size if experts and dispatched else 0
    return model.hidden_size + model.num_attention_heads * model.v_head_dim + outputs + sent


def _outputs(matrix: Matrix, targets: Sequence[str]) -> int:
    return matrix.rows * (2 if is_adapted(matrix, targets) else 1)
