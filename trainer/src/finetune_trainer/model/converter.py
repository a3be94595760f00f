"""The converter that turns a DeepSeek-V3 model config into one that trains adapters only."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from torchtitan.models.common.linear import Linear
from torchtitan.models.common.moe import GroupedExperts, RoutedExperts, TokenChoiceTopKRouter
from torchtitan.models.deepseek_v3 import DeepSeekV3Model
from torchtitan.protocols.model import ModelConfigConverter

from finetune_trainer.contract.failure import ConfigurationError, Reason
from finetune_trainer.model.frozen.linear import FrozenLinear
from finetune_trainer.model.frozen.settings import AS_PRECISION, FrozenSettings
from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.lora.experts import LoRAGroupedExperts, ScoredExperts
from finetune_trainer.model.lora.linear import LoRALinear
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.lora.targets import Adaptable, adaptable_weights, select_weights
from finetune_trainer.model.router import Float32Gate


class LoRAConverter(ModelConfigConverter):
    """Adapters on what `targets` name, everything else frozen.

    torchtitan's own puts adapters on modules of class Linear only, which the routed experts are not, and only
    warns of a target that names nothing.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(ModelConfigConverter.Config):
        lora: LoRASettings
        targets: tuple[str, ...]
        base_dtype: Literal["bfloat16", "float32"]
        frozen: FrozenSettings = AS_PRECISION

    def __init__(self, config: Config) -> None:
        self.config = config

    def convert(self, model_config: DeepSeekV3Model.Config) -> FrozenBaseModel.Config:
        """`model_config`, changed in place below its root, as torchtitan's converters do it.

        In FP8 is kept what DeepSeek-V3 has so: the layers' linear weights but the router's; and the head
        where it is asked for.

        Raises ConfigurationError when a target matches nothing.
        """
        lora, frozen = self.config.lora, self.config.frozen
        selected = select_weights(model_config, self.config.targets)
        _check_rank(lora.rank, selected)
        if lora.dora:
            _check_dora(selected)
        _check_patterns(lora, selected)
        names = {weight.fqn: weight.hf_name for weight in selected}
        adapted = {
            weight.fqn: tuple(sorted(w.name for w in selected if w.fqn == weight.fqn)) for weight in selected
        }
        linear = {weight.fqn for weight in adaptable_weights(model_config)} if frozen.in_float8 else set()
        if frozen.head_in_float8:
            linear.add("lm_head")
        for fqn, config, parent, attribute in list(model_config.traverse(Linear.Config)):
            if fqn in adapted:
                own = lora.of(names[fqn])
                _replace(parent, attribute, _extend(config, LoRALinear.Config, lora=own, frozen=frozen))
            elif fqn in linear:
                _replace(parent, attribute, _extend(config, FrozenLinear.Config, frozen=frozen))
        for fqn, config, parent, attribute in list(model_config.traverse(GroupedExperts.Config)):
            targets = adapted.get(fqn, ())
            experts = _extend(config, LoRAGroupedExperts.Config, lora=lora, targets=targets, frozen=frozen)
            _replace(parent, attribute, experts)
        for _, config, parent, attribute in list(model_config.traverse(RoutedExperts.Config)):
            _replace(parent, attribute, _extend(config, ScoredExperts.Config))
        for _, router, _, _ in model_config.traverse(TokenChoiceTopKRouter.Config):
            router.gate = _extend(router.gate, Float32Gate.Config)
        return _extend(
            model_config,
            FrozenBaseModel.Config,
            base_dtype=self.config.base_dtype,
            resident=frozen.resident,
        )


def _check_rank(rank: int, selected: frozenset[Adaptable]) -> None:
    """Grouped matrix products need rows of a multiple of 16 bytes: 8 values of bfloat16."""
    if rank % 8 and any(weight.group == "experts" for weight in selected):
        raise ConfigurationError(
            f"lora.rank: {rank} is no multiple of 8, which adapters on the experts need",
            Reason.TARGETS_INVALID,
            remedy="Use rank 8, 16, 32 or another multiple, or leave the experts out of lora.targets",
        )


def _check_patterns(lora: LoRASettings, selected: frozenset[Adaptable]) -> None:
    """PEFT matches patterns otherwise where experts are stacked, and MLPs beside them are parameters."""
    known = {weight.hf_name for weight in selected if weight.group == "attention"}
    for field, pattern in (("rankPattern", lora.rank_pattern), ("alphaPattern", lora.alpha_pattern)):
        if others := sorted(pattern.keys() - known):
            raise ConfigurationError(
                f"lora.{field}: {others[0]} is no module of attention that lora.targets names",
                Reason.TARGETS_INVALID,
                remedy=f"Name {', '.join(sorted(known)) or 'attention in lora.targets'}",
            )


def _check_dora(selected: frozenset[Adaptable]) -> None:
    """PEFT (0.21) has no DoRA of parameters, which it takes experts and the MLPs beside them for."""
    if others := sorted({weight.hf_name for weight in selected if weight.group != "attention"}):
        raise ConfigurationError(
            f"lora.dora: {', '.join(others)} can have no DoRA, which PEFT has for attention alone here",
            Reason.TARGETS_INVALID,
            remedy="Name attention, or modules of it, in lora.targets; or leave dora out",
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
