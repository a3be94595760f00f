"""The converter that turns a DeepSeek-V3 model config into one that trains adapters only."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal

from torchtitan.models.common.linear import Linear
from torchtitan.models.common.moe import GroupedExperts, TokenChoiceTopKRouter
from torchtitan.models.deepseek_v3 import DeepSeekV3Model

from finetune_trainer.contract.failure import ConfigurationError, Reason
from finetune_trainer.model.frozen.linear import FrozenLinear
from finetune_trainer.model.frozen.settings import AS_PRECISION, FrozenSettings
from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.lora.experts import LoRAGroupedExperts
from finetune_trainer.model.lora.linear import LoRALinear
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.lora.targets import Adaptable, adaptable_weights, select_weights
from finetune_trainer.model.router import Float32Gate


def with_adapters(
    model: DeepSeekV3Model.Config,
    settings: LoRASettings,
    targets: Sequence[str],
    base_dtype: Literal["bfloat16", "float32"],
    frozen: FrozenSettings = AS_PRECISION,
) -> FrozenBaseModel.Config:
    """`model` (changed in place below its root) with adapters on what `targets` name.

    In FP8 is kept what DeepSeek-V3 has so: the layers' linear weights but the router's.

    Raises ConfigurationError when a target matches nothing.
    """
    selected = select_weights(model, targets)
    _check_rank(settings.rank, selected)
    adapted = {
        weight.fqn: tuple(sorted(w.name for w in selected if w.fqn == weight.fqn)) for weight in selected
    }
    linear = {weight.fqn for weight in adaptable_weights(model)} if frozen.in_float8 else set(adapted)
    for fqn, config, parent, attribute in list(model.traverse(Linear.Config)):
        if fqn in adapted:
            _replace(parent, attribute, _extend(config, LoRALinear.Config, lora=settings, frozen=frozen))
        elif fqn in linear:
            _replace(parent, attribute, _extend(config, FrozenLinear.Config, frozen=frozen))
    for fqn, config, parent, attribute in list(model.traverse(GroupedExperts.Config)):
        targeted = adapted.get(fqn, ())
        experts = _extend(config, LoRAGroupedExperts.Config, lora=settings, targets=targeted, frozen=frozen)
        _replace(parent, attribute, experts)
    for _, router, _, _ in model.traverse(TokenChoiceTopKRouter.Config):
        router.gate = _extend(router.gate, Float32Gate.Config)
    return _extend(model, FrozenBaseModel.Config, base_dtype=base_dtype)


def _check_rank(rank: int, selected: frozenset[Adaptable]) -> None:
    """Grouped matrix products need rows of a multiple of 16 bytes: 8 values of bfloat16."""
    if rank % 8 and any(weight.group == "experts" for weight in selected):
        raise ConfigurationError(
            f"lora.rank: {rank} is no multiple of 8, which adapters on the experts need",
            Reason.TARGETS_INVALID,
            remedy="Use rank 8, 16, 32 or another multiple, or leave the experts out of lora.targets",
        )


def _extend(config: Any, extended: type, **additions: Any) -> Any:
    return extended(
        **{field.name: getattr(config, field.name) for field in fields(config) if field.init}, **additions
    )


def _replace(parent: Any, attribute: Any, config: Any) -> None:
    if isinstance(parent, list):
        parent[attribute] = config
    else:
        setattr(parent, attribute, config)
