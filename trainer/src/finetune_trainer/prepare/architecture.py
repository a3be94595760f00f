"""Whether a base model is the one that the run's flavour trains."""

import dataclasses
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch

from finetune_trainer.base.hf_config import CONFIG, check_supported, read_hf_config, shape_of_base
from finetune_trainer.base.shape import difference
from finetune_trainer.base.tensors import BaseTensors
from finetune_trainer.base.unread import check_all_read
from finetune_trainer.contract.failure import ConfigurationError, DataError, Reason
from finetune_trainer.model.base_loader import check_tensor, frozen_tensors
from finetune_trainer.model.build import SHORTEST_TABLE
from finetune_trainer.model.flavors import AUTO, FLAVORS, build_model_config, find_flavor
from finetune_trainer.model.names import CheckpointNames


def check_architecture(flavor: str, folder: Path) -> None:
    """Raises ConfigurationError naming the field of config.json that differs, and the flavours that fit.

    `auto` fits every base. Raises DataError for a config.json that is not computed with.
    """
    config, file = read_hf_config(folder), folder / CONFIG
    check_supported(config, file)
    if flavor == AUTO:
        return
    problem = _mismatch(flavor, config, file)
    if problem is None:
        return
    fitting = [name for name in FLAVORS if name != flavor and _mismatch(name, config, file) is None]
    raise ConfigurationError(
        f"flavor {flavor} does not fit {file}: {problem}",
        Reason.FLAVOR_INVALID,
        remedy=f"Use flavor {' or '.join([AUTO, *fitting])}",
    )


def _mismatch(flavor: str, config: Mapping[str, Any], file: Path) -> str | None:
    return difference(find_flavor(flavor).shape, config, file)


def architecture_of_base(folder: Path) -> dict[str, Any]:
    """What the operator computes memory from (contract/README.md), by config.json's names."""
    config, shape = read_hf_config(folder), shape_of_base(folder)
    numbers = {name: value or 0 for name, value in dataclasses.asdict(shape).items()}
    return numbers | {
        "has_expert_bias": shape.scoring_func == "sigmoid",
        "num_nextn_predict_layers": config.get("num_nextn_predict_layers")
        or config.get("num_mtp_layers")
        or 0,
        "max_position_embeddings": config.get("max_position_embeddings") or SHORTEST_TABLE,
        "dtype": "float8" if config.get("quantization_config") else _dtype(config),
    }


def _dtype(config: Mapping[str, Any]) -> str:
    said = str(config.get("torch_dtype") or config.get("dtype")).removeprefix("torch.")
    return said if said in ("float32", "bfloat16", "float16") else "bfloat16"


def check_tensors(flavor: str, folder: Path) -> None:
    """Raises DataError naming the first tensor that training needs, missing or of another shape.

    And the first one of the layers, embedding or head that training would not read.
    """
    config = build_model_config(flavor, device="cpu", base=folder)
    with torch.device("meta"):
        model = config.build()
    names, tensors = CheckpointNames.of(config), BaseTensors(folder)
    frozen = list(frozen_tensors(model))
    read = {part for name, tensor in frozen for part in names.tensors(name, num_experts=tensor.shape[0])}
    check_all_read(tensors, read, layers=len(config.layers))
    for name, tensor in frozen:
        check_tensor(name, tensor, names, tensors)
    _check_float8(tensors, read, folder)


def _check_float8(tensors: BaseTensors, read: Set[str], folder: Path) -> None:
    """vLLM reads weights as config.json says they are, and dies at the first that is not."""
    found = next((name for name in sorted(read) if tensors.is_float8(name)), None)
    said = read_hf_config(folder).get("quantization_config") is not None
    if found is not None and not said:
        raise DataError(
            f"{folder / CONFIG}: quantization_config is missing, but {found} is in FP8",
            Reason.BASE_INVALID,
            remedy="Add the quantization_config of DeepSeek-V3's own config.json",
        )
    if said and found is None:
        raise DataError(
            f"{folder / CONFIG}: quantization_config says that weights are in FP8, but none is",
            Reason.BASE_INVALID,
            remedy="Remove quantization_config from it",
        )
