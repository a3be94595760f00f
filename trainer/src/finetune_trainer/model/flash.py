"""FlashAttention 4 on packed documents, on Hopper and Blackwell GPUs (https://github.com/Dao-AILab/flash-attention)."""

import importlib.util
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import activate_flash_attention_impl, current_flash_attention_impl
from torchtitan.models.common.attention import VarlenAttention, VarlenMetadata

from finetune_trainer.model.stopwatch import ATTENTION

# Shape suffixes, as torchtitan's: B = batch, L = sequence length, N = heads, H = head size (of values V,
# which is another one), T = tokens of the batch (B*L), S = documents of the batch and 1.

IMPLEMENTATION = "FA4"
HEAD_SIZES = ((192, 128),)
"""Of queries and keys, and of values: what the kernels were tried with. Others take flex attention."""


def flash_attention_works() -> bool:
    """Whether flash-attn-4 is installed and this machine's GPU is one it has kernels for."""
    return (
        importlib.util.find_spec("flash_attn") is not None
        and importlib.util.find_spec("flash_attn.cute") is not None
        and torch.cuda.is_available()
        and torch.cuda.get_device_capability()[0] in (9, 10)
    )


class FlashAttention(VarlenAttention):
    """Twice as fast backward as flex attention at MLA's head sizes, 192 and 128.

    torch's own `varlen_attn` cannot be compiled with these: it announces a result as wide as the queries.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(VarlenAttention.Config):
        pass

    def __init__(self, config: Config) -> None:
        super(VarlenAttention, self).__init__()  # its own would choose another implementation
        del config
        if current_flash_attention_impl() != IMPLEMENTATION:
            activate_flash_attention_impl(IMPLEMENTATION)

    def forward(
        self,
        q_BLNH: torch.Tensor,
        k_BLNH: torch.Tensor,
        v_BLNH: torch.Tensor,
        *,
        attention_masks: VarlenMetadata,
        scale: float | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """Attend, to [B, L, N, V]."""
        starts_S, length = attention_masks.cu_seq_q, attention_masks.max_q
        q_TNH, k_TNH, v_TNV = (part.flatten(0, 1) for part in (q_BLNH, k_BLNH, v_BLNH))
        assert scale is not None
        output_TNV, _logsumexp_NT = _attend(q_TNH, k_TNH, v_TNV, starts_S, length, scale)
        return output_TNV.unflatten(0, q_BLNH.shape[:2])


def document_starts(positions_BL: torch.Tensor) -> VarlenMetadata:
    """Where a batch's documents start, and its end, [S]. Positions restart with every document."""
    starts = (positions_BL.flatten() == 0).nonzero().flatten()
    bounds_S = torch.cat([starts, starts.new_tensor([positions_BL.numel()])]).to(torch.int32)
    # An upper bound: what the longest is would have to be fetched from the GPU.
    length = positions_BL.shape[1]
    return VarlenMetadata(cu_seq_q=bounds_S, cu_seq_k=bounds_S, max_q=length, max_k=length)


@torch.library.custom_op("finetune_trainer::attend", mutates_args=())
def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, starts: torch.Tensor, length: int, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    with ATTENTION.running(q.device):
        output, logsumexp, *_ = torch.ops.aten._flash_attention_forward(
            q, k, v, starts, starts, length, length, 0.0, True, return_debug_mask=False, scale=scale
        )
    return output, logsumexp


@_attend.register_fake
def _(q: torch.Tensor, _k: torch.Tensor, v: torch.Tensor, *_rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
    tokens, heads, _ = q.shape
    return v.new_empty(tokens, heads, v.shape[-1]), q.new_empty(heads, tokens, dtype=torch.float32)


@torch.library.custom_op("finetune_trainer::attend_backward", mutates_args=())
def _attend_backward(
    gradient: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    output: torch.Tensor,
    logsumexp: torch.Tensor,
    starts: torch.Tensor,
    length: int,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    nothing = torch.zeros(2, dtype=torch.uint64, device=q.device)  # the random state of a dropout of 0
    with ATTENTION.running(q.device):
        dq, dk, dv = torch.ops.aten._flash_attention_backward(
            gradient,
            q,
            k,
            v,
            output,
            logsumexp,
            starts,
            starts,
            length,
            length,
            0.0,
            True,
            nothing,
            nothing,
            scale=scale,
        )
    return dq, dk, dv


@_attend_backward.register_fake
def _(
    _gradient: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    *tensors, ctx.length, ctx.scale = inputs
    ctx.save_for_backward(*tensors, *output)


def _gradients(ctx: Any, gradient: torch.Tensor, _logsumexp: Any) -> tuple[torch.Tensor | None, ...]:
    q, k, v, starts, output, logsumexp = ctx.saved_tensors
    gradients = _attend_backward(
        gradient.contiguous(), q, k, v, output, logsumexp, starts, ctx.length, ctx.scale
    )
    return *gradients, None, None, None


_attend.register_autograd(_gradients, setup_context=_keep)
