"""Whether a base model is the one that the run's flavour trains."""

import json
from pathlib import Path

import torch
from torchtitan.models.deepseek_v3 import DeepSeekV3Model

from finetune_trainer.base.hf_config import check_hf_config
from finetune_trainer.base.tensors import BaseTensors
from finetune_trainer.contract.failure import ConfigurationError, DataError, Reason
from finetune_trainer.model.base_loader import frozen_tensors
from finetune_trainer.model.flavors import FLAVORS, build_model_config
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.prepare.weights import incomplete


def check_architecture(flavor: str, folder: Path) -> None:
    """Raises ConfigurationError naming the field of config.json that differs, and the flavour that fits."""
    problem = _mismatch(flavor, folder)
    if problem is None:
        return
    fitting = [name for name in FLAVORS if name != flavor and _mismatch(name, folder) is None]
    remedy = (
        f"Use flavor {' or '.join(fitting)}" if fitting else f"No flavor fits; there are {', '.join(FLAVORS)}"
    )
    raise ConfigurationError(f"flavor {flavor} does not fit {problem}", Reason.FLAVOR_INVALID, remedy=remedy)


def _mismatch(flavor: str, folder: Path) -> str | None:
    """The first field that differs; DataError for a config.json that cannot be read."""
    model = build_model_config(flavor, device="cpu")
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise incomplete(file, f"cannot be read ({error})") from error
    for field, expected in (("hidden_size", model.dim), ("vocab_size", model.vocab_size)):
        if config.get(field) != expected:
            return f"{file}: {field} is {config.get(field)!r}, the flavor needs {expected!r}"
    try:
        check_hf_config(model, folder)
    except DataError as error:
        return error.message
    return None


def check_tensors(flavor: str, folder: Path) -> None:
    """Raises DataError naming the first tensor that training needs, missing or of another shape."""
    config: DeepSeekV3Model.Config = build_model_config(flavor, device="cpu")
    with torch.device("meta"):
        model = config.build()
    names, tensors = CheckpointNames.of(config), BaseTensors(folder)
    for name, tensor in frozen_tensors(model):
        hf_names = names.tensors(name, num_experts=tensor.shape[0])
        shape = tuple(tensor.shape) if len(hf_names) == 1 else tuple(tensor.shape[1:])
        for hf_name in hf_names:
            tensors.check(hf_name, shape)
