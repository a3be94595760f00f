"""Causal attention within packed documents, dense: for CPUs, where flex attention has no backward."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torchtitan.models.common.attention import FlexAttention


class DenseAttention(FlexAttention):
    """`scaled_dot_product_attention` with a boolean mask in place of flex attention's block mask.

    A FlexAttention by type, so that the trainer asks the model for its masks.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(FlexAttention.Config):
        pass

    def forward(
        self,
        q_BLNH: torch.Tensor,  # noqa: N803 (torchtitan's argument names are part of its sharding config)
        k_BLNH: torch.Tensor,  # noqa: N803
        v_BLNH: torch.Tensor,  # noqa: N803
        *,
        attention_masks: torch.Tensor | None = None,
        scale: float | None = None,
    ) -> torch.Tensor:
        """Attend; q, k, v and the result are (batch, length, heads, head size), the mask (batch, 1, L, L)."""
        output = F.scaled_dot_product_attention(
            q_BLNH.transpose(1, 2),
            k_BLNH.transpose(1, 2),
            v_BLNH.transpose(1, 2),
            attn_mask=attention_masks,
            is_causal=attention_masks is None,
            scale=scale,
        )
        return output.transpose(1, 2)


def document_causal_mask(positions: torch.Tensor) -> torch.Tensor:
    """Boolean mask (batch, 1, L, L): a token sees itself and earlier tokens of its own document.

    positions (batch, L) restart at 0 with every packed document.
    """
    document = (positions == 0).cumsum(dim=1)
    same_document = document[:, :, None] == document[:, None, :]
    length = positions.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=positions.device).tril()
    return (same_document & causal).unsqueeze(1)
