"""DeepSeek-V3 with everything frozen except adapters."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torchtitan.config import TORCH_DTYPE_MAP
from torchtitan.models.deepseek_v3 import DeepSeekV3Model

from finetune_trainer.base.float8 import SCALE_SUFFIX
from finetune_trainer.model.attention import DenseAttention, document_causal_mask
from finetune_trainer.model.flash import FlashAttention, document_starts
from finetune_trainer.model.frozen.linear import store_as_integers
from finetune_trainer.model.frozen.resident import SetAside, set_aside
from finetune_trainer.model.lora.names import is_adapter


class FrozenBaseModel(DeepSeekV3Model):
    """The model that LoRA trains: base weights frozen in `base_dtype`, adapters in the training dtype.

    There is no float32 copy of a frozen weight: a bfloat16 base of 671B parameters is 1.3 TB, not 2.7 TB.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(DeepSeekV3Model.Config):
        base_dtype: Literal["bfloat16", "float32"] = "float32"
        resident: bool = False
        """Whether FSDP leaves all that is frozen where it is."""

        @property
        def longest_sequence(self) -> int:
            """Tokens of a document that the flavour's base knows positions for: 163,840 of a DeepSeek-V3."""
            rope = self.layers[0].attention.rope
            extended = rope.original_seq_len * rope.rope_factor if rope.scaling == "yarn" else 0
            return max(rope.max_seq_len, int(extended))

        def update_from_config(self, *, config: Any, **settings: Any) -> None:
            """torchtitan refuses sequences longer than its flavours' tables of RoPE, which end at 16,384."""
            for layer in self.layers:
                rope = layer.attention.rope
                length = max(rope.max_seq_len, config.training.seq_len)
                layer.attention.rope = dataclasses.replace(rope, max_seq_len=length)
            super(FrozenBaseModel.Config, self).update_from_config(config=config, **settings)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._aside: list[SetAside] = []
        _cast_frozen(self, TORCH_DTYPE_MAP[config.base_dtype])
        _freeze(self)

    def parallelize(self, parallel_dims: Any) -> None:
        """Shard, then freeze again: under spmd_types torchtitan makes new parameters that all want gradients.

        Left so, the "frozen" base would be trained: that is the gradient norm of 1.71 where 0.55 is right.
        """
        super().parallelize(parallel_dims)
        _freeze(self)
        store_as_integers(self)
        if parallel_dims.world_size > parallel_dims.pp:
            self._aside = set_aside(self, parallel_dims, all_frozen=self.config.resident)

    def put_back(self) -> None:
        """Give the modules the frozen weights that `parallelize` took out, so that FSDP leaves them alone."""
        for parameter in self._aside:
            parameter.put_back()
        self._aside.clear()

    def get_attention_masks(self, positions: torch.Tensor) -> Any:
        inner_attention = self.config.first_attention.inner_attention
        if isinstance(inner_attention, DenseAttention.Config):
            return document_causal_mask(positions)
        if isinstance(inner_attention, FlashAttention.Config):
            return document_starts(positions)
        return super().get_attention_masks(positions)


def _freeze(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_adapter(name))


def _cast_frozen(model: nn.Module, dtype: torch.dtype) -> None:
    for name, parameter in list(model.named_parameters()):
        if not is_adapter(name) and parameter.dtype is not torch.float8_e4m3fn and SCALE_SUFFIX not in name:
            owner, _, leaf = name.rpartition(".")
            model.get_submodule(owner).register_parameter(leaf, nn.Parameter(parameter.to(dtype)))
