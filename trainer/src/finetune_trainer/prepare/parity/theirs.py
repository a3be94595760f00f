"""transformers' model of the base's config.json, a layer at a time, with the same weights."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

from finetune_trainer.base.families import FAMILIES
from finetune_trainer.base.tensors import BaseTensors
from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.prepare.parity.weights import ExpertWeights, read_experts, read_whole

ReadExperts = Callable[[Sequence[int]], ExpertWeights]


class TheirModel:
    """`AutoModelForCausalLM` of a config.json, in eager arithmetic; never code of the base's own."""

    def __init__(self, config: Mapping[str, Any], tensors: BaseTensors) -> None:
        self._tensors = tensors
        self._config = _read_config(config, tensors)
        with torch.device("meta"):
            causal = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                self._config, attn_implementation="eager", experts_implementation="eager"
            )
        self.name = type(causal).__name__
        self._model = causal.model.eval()
        self._rotary = type(self._model.rotary_emb)(self._config)

    def layer(self, index: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Decoder layer `index`: of states [1, length, dim] at positions [1, length]; like states."""
        layer, self._model.layers[index] = self._model.layers[index], nn.Identity()
        experts = getattr(layer.mlp, "experts", None)
        if experts is not None:
            layer.mlp.experts = nn.Identity()
        self._fill(layer, f"model.layers.{index}.")
        if experts is not None:
            layer.mlp.experts = _ExpertsOfTokens(
                type(experts), self._config, lambda taken: read_experts(self._tensors, index, taken)
            )

        def run(states: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
            length = states.shape[1]
            output = layer(
                states,
                attention_mask=torch.full((length, length), float("-inf")).triu(1)[None, None],
                position_ids=positions,
                position_embeddings=self._rotary(states, positions),
            )
            return cast(torch.Tensor, output)

        return run

    def norm(self) -> nn.Module:
        """The norm before the head."""
        self._fill(self._model.norm, "model.norm.")
        return cast(nn.Module, self._model.norm)

    def _fill(self, module: nn.Module, prefix: str) -> None:
        values = {name: read_whole(self._tensors, prefix + name) for name in module.state_dict()}
        module.load_state_dict(values, assign=True)


def has_class(config: Mapping[str, Any]) -> bool:
    """Whether transformers knows the model of a config.json."""
    return _transformers_type(config) in CONFIG_MAPPING


def _transformers_type(config: Mapping[str, Any]) -> str:
    """transformers has no class for some types, and one that computes the same."""
    model_type = config["model_type"]
    return FAMILIES[model_type].transformers_type if model_type in FAMILIES else model_type


def _read_config(config: Mapping[str, Any], tensors: BaseTensors) -> Any:
    # transformers changes the dictionaries that it is given.
    fields = {key: copy.deepcopy(value) for key, value in config.items() if key != "quantization_config"}
    try:
        return AutoConfig.for_model(**fields | {"model_type": _transformers_type(config)})
    except (StrictDataclassError, ValueError, TypeError, KeyError) as error:
        problem = " ".join(str(error).split())
        raise DataError(
            f"{tensors.folder / 'config.json'}: transformers does not take it ({problem})",
            Reason.BASE_INVALID,
            remedy="Correct the field that is named: merging and verifying read the file with transformers",
        ) from error


class _ExpertsOfTokens(nn.Module):
    """transformers' experts, one token at a time and with that token's experts alone."""

    def __init__(self, kind: type[nn.Module], config: Any, read: ReadExperts) -> None:
        super().__init__()
        self._kind, self._config, self._read = kind, copy.deepcopy(config), read
        self._config.n_routed_experts = config.num_experts_per_tok

    def forward(self, states: torch.Tensor, taken: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """states [length, dim], taken and scores [length, top-k] -> like states."""
        return torch.cat(
            [
                self._token(states[[token]], taken[token].tolist(), scores[[token]])
                for token in range(len(states))
            ]
        )

    def _token(self, states: torch.Tensor, taken: Sequence[int], scores: torch.Tensor) -> torch.Tensor:
        with torch.device("meta"):
            experts = self._kind(self._config)
        weights = self._read(taken)
        values = {"gate_up_proj": weights.gate_up, "down_proj": weights.down}
        experts.load_state_dict(values, assign=True)
        return cast(torch.Tensor, experts(states, torch.arange(len(taken))[None], scores))
