"""Which activations are computed again in the backward pass instead of kept."""

from dataclasses import dataclass
from typing import Any

import torch
from torchtitan.distributed.activation_checkpoint import ActivationCheckpointing, FullAC, SelectiveAC

from finetune_trainer.model import flash as flash  # registers the operator


class KeepAttention(SelectiveAC):
    """torchtitan's selection (attention and every second matrix product are kept), for FlashAttention too."""

    @dataclass(kw_only=True, slots=True)
    class Config(SelectiveAC.Config):
        pass

    def get_save_ops(self) -> set[Any]:
        return super().get_save_ops() | {torch.ops.finetune_trainer.attend.default}


RECOMPUTE: dict[str, ActivationCheckpointing.Config | None] = {
    "none": None,
    "selective": KeepAttention.Config(),
    "full": FullAC.Config(),
}
