"""Which activations are computed again in the backward pass instead of kept."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torchtitan.distributed.activation_checkpoint import ActivationCheckpointing, SelectiveAC

from finetune_trainer.model import flash as flash  # registers the operator


class KeepAttention(SelectiveAC):
    """torchtitan's selection (attention and every second matrix product are kept), for FlashAttention too."""

    @dataclass(kw_only=True, slots=True)
    class Config(SelectiveAC.Config):
        pass

    def get_save_ops(self) -> set[Any]:
        return super().get_save_ops() | {torch.ops.finetune_trainer.attend.default}


class KeepRouting(SelectiveAC):
    """Everything is computed again but which experts a token goes to: 100 bytes a token.

    torchtitan's FullAC decides it again. Where attention then differs in its last bit, as it did on GPUs with
    sequences of 131,072 tokens, tokens go elsewhere than the sizes say that the forward pass was told of by
    the other ranks, and repeat_interleave stops every one of them.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(SelectiveAC.Config):
        force_recompute_mm_shapes_by_fqns: list[str] = field(default_factory=list)

    def get_save_ops(self) -> set[Any]:
        return {torch.ops.aten.topk.default}


RECOMPUTE: dict[str, ActivationCheckpointing.Config | None] = {
    "none": None,
    "selective": KeepAttention.Config(),
    "full": KeepRouting.Config(),
}
