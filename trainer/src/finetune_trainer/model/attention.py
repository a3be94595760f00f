"""Causal attention within packed documents, dense: for CPUs, where flex attention has no backward."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torchtitan.models.common.attention import FlexAttention

from finetune_trainer.model.stopwatch import ATTENTION

# Shape suffixes, as torchtitan's: B = batch, L = sequence length, N = heads, H = head size.


class DenseAttention(FlexAttention):
    """`scaled_dot_product_attention` with a boolean mask in place of flex attention's block mask.

    A FlexAttention by type, so that the trainer asks the model for its masks.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(FlexAttention.Config):
        pass

    def forward(
        self,
        q_BLNH: torch.Tensor,
        k_BLNH: torch.Tensor,
        v_BLNH: torch.Tensor,
        *,
        attention_masks: torch.Tensor | None = None,
        scale: float | None = None,
    ) -> torch.Tensor:
        """Attend, to [B, L, N, H]; attention_masks [B, 1, L, L]."""
        with ATTENTION.running(q_BLNH.device):
            output_BNLH = F.scaled_dot_product_attention(
                q_BLNH.transpose(1, 2),
                k_BLNH.transpose(1, 2),
                v_BLNH.transpose(1, 2),
                attn_mask=attention_masks,
                is_causal=attention_masks is None,
                scale=scale,
            )
        return output_BNLH.transpose(1, 2)


def document_causal_mask(positions_BL: torch.Tensor) -> torch.Tensor:
    """Boolean mask [B, 1, L, L]: a token sees itself and earlier tokens of its own document.

    Positions restart at 0 with every packed document.
    """
    document_BL = (positions_BL == 0).cumsum(dim=1)
    same_document_BLL = document_BL[:, :, None] == document_BL[:, None, :]
    length = positions_BL.shape[1]
    causal_LL = torch.ones(length, length, dtype=torch.bool, device=positions_BL.device).tril()
    return (same_document_BLL & causal_LL).unsqueeze(1)
