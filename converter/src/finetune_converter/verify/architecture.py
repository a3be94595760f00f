"""The architectures that the gate knows: transformers' own classes of each."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import (
    DeepseekV2Config,
    DeepseekV2ForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    Glm4MoeLiteConfig,
    Glm4MoeLiteForCausalLM,
    PreTrainedConfig,
)
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3
from transformers.models.glm4_moe_lite import modeling_glm4_moe_lite as glm

from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.header import TensorEntry


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """transformers' classes of one model_type; none of its modules but these is built."""

    config: type[PreTrainedConfig]
    model: type[Any]
    layer: type[Any]
    norm: type[Any]
    rotary: type[Any]


_DEEPSEEK_V3 = Architecture(
    config=DeepseekV3Config,
    model=DeepseekV3ForCausalLM,
    layer=v3.DeepseekV3DecoderLayer,
    norm=v3.DeepseekV3RMSNorm,
    rotary=v3.DeepseekV3RotaryEmbedding,
)

ARCHITECTURES = {
    "deepseek_v3": _DEEPSEEK_V3,
    # Kimi-K2 is DeepSeek-V3's model under a name of its own, which transformers does not know.
    "kimi_k2": _DEEPSEEK_V3,
    "glm4_moe_lite": Architecture(
        config=Glm4MoeLiteConfig,
        model=Glm4MoeLiteForCausalLM,
        layer=glm.Glm4MoeLiteDecoderLayer,
        norm=glm.Glm4MoeLiteRMSNorm,
        rotary=glm.Glm4MoeLiteRotaryEmbedding,
    ),
    "deepseek_v2": Architecture(
        config=DeepseekV2Config,
        model=DeepseekV2ForCausalLM,
        layer=v2.DeepseekV2DecoderLayer,
        norm=v2.DeepseekV2RMSNorm,
        rotary=v2.DeepseekV2RotaryEmbedding,
    ),
}
"""By model_type. The merge takes the same ones (merge/architecture.py)."""


STACKED = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}
"""How transformers stacks the experts' matrices (conversion_mapping.py, qwen2_moe): one above the other."""


def architecture_of(config: Any) -> Architecture:
    """The classes of a configuration of transformers'."""
    return ARCHITECTURES[config.model_type]


def read_config(file: Path, content: dict[str, Any]) -> Any:
    """transformers' configuration of a base, of one of the classes above. Raises Failure(BaseInvalid)."""
    model_type = content.get("model_type")
    architecture = ARCHITECTURES.get(model_type) if isinstance(model_type, str) else None
    if architecture is None:
        raise Failure(
            f"{file}: model_type is {model_type!r:.200}, not one of {', '.join(ARCHITECTURES)}",
            Reason.BASE_INVALID,
            "Use a base of that architecture",
        )
    try:
        # transformers changes the objects that it is given, such as rope_scaling.
        fields = copy.deepcopy(content) | {"model_type": architecture.config.model_type}
        config = architecture.config.from_dict(fields)
    except (TypeError, ValueError, KeyError, AttributeError, StrictDataclassError) as error:
        raise Failure(
            f"{file}: transformers cannot read it: {str(error)[:300]}",
            Reason.BASE_INVALID,
            "Fetch the base again",
        ) from error
    config._attn_implementation = "eager"
    return config


def check_shapes(file: Path, config: Any, entries: Mapping[str, TensorEntry]) -> None:
    """The base has every tensor of transformers' model, in its shape. Raises Failure(BaseInvalid)."""
    for name, shape in _shapes(file, config):
        found = entries.get(name)
        if found is None or found.shape != shape:
            there = "not there" if found is None else f"{list(found.shape)}"
            fault = f"{file}: says that tensor {name!r} is {list(shape)}; it is {there}"
            raise Failure(
                fault, Reason.BASE_INVALID, "Fetch the base again, config.json and weights together"
            )


def _shapes(file: Path, config: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Of every tensor, those of each expert apart, as they are in files."""
    try:
        with torch.device("meta"):
            model: nn.Module = architecture_of(config).model(config)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, ArithmeticError) as error:
        fault = f"{file}: transformers cannot build its model: {str(error)[:300]}"
        raise Failure(fault, Reason.BASE_INVALID, "Fetch the base again") from error
    for name, tensor in model.state_dict().items():
        path, _, leaf = name.rpartition(".")
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if leaf not in STACKED:
            yield name, tuple(tensor.shape)
            continue
        experts, rows, columns = tensor.shape
        for expert in range(experts):
            for part in STACKED[leaf]:
                yield f"{path}.{expert}.{part}.weight", (rows // len(STACKED[leaf]), columns)
