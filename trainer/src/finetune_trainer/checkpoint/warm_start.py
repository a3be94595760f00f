"""Start from an adapter: checked against the run before anything is loaded, then read, each rank its slices.

A run that starts from it computes base + adapter at first; resuming is another thing (manager.py).
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from finetune_trainer.checkpoint.peft_adapter import CONFIG, PEFT_PREFIX, WEIGHTS
from finetune_trainer.checkpoint.peft_config import alpha_of_fused
from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.distributed.shards import local_tensor, shard_slices
from finetune_trainer.model.lora.names import is_adapter
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.names import CheckpointNames

Shape = tuple[int, ...]

# Keys of PEFT's LoraConfig (0.21) that make another adapter than this trainer trains, and what it then is.
_VARIANTS = {
    "use_dora": "it is DoRA's",
    "use_qalora": "it is QALoRA's",
    "use_bdlora": "it is BD-LoRA's",
    "velora_config": "it is VeLoRA's",
    "kasa_config": "it is KaSA's",
    "monteclora_config": "it is MonteCLoRA's",
    "arrow_config": "it is Arrow's, of several adapters",
    "alora_invocation_tokens": "it acts after these tokens only",
    "lora_bias": "it has biases",
    "fan_in_fan_out": "it is of transposed weights",
    "trainable_token_indices": "tokens were trained too",
    "modules_to_save": "whole modules were trained too",
    "layer_replication": "it is of repeated layers",
}
_PLAIN_INITIAL_WEIGHTS = (None, True, False, "gaussian", "orthogonal", "eva", "mica")
"""First values that leave the base as it is; the others train on a base that they have changed."""
_HUB = "hf://"


def expected_tensors(model: nn.Module, names: CheckpointNames) -> dict[str, Shape]:
    """The shapes of a PEFT adapter of `model`, which may be on the meta device, by the names in its file."""
    return {
        tensor: tuple(shape)
        for name, parameter in model.state_dict().items()
        if is_adapter(name)
        for tensor, shape in _peft_shapes(name, parameter.shape, names)
    }


def check_adapter(folder: Path, *, settings: LoRASettings, base: str, expected: Mapping[str, Shape]) -> None:
    """Raises DataError, naming the field or the tensor, for an adapter that the run cannot start from."""
    config = _read_config(folder)
    _check_kind(folder, config, settings)
    _check_base(folder, config.get("base_model_name_or_path"), base)
    _check_settings(folder, config, settings)
    _check_tensors(folder, expected)


def load_adapter(model_parts: Sequence[nn.Module], folder: Path, names: CheckpointNames) -> None:
    """Copy this rank's slices of the adapter in `folder`. Raises DataError naming what cannot be read."""
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as source:
            for part in model_parts:
                for name, parameter in part.state_dict(keep_vars=True).items():
                    if is_adapter(name):
                        _load(source, name, parameter, names)
    except (SafetensorError, OSError) as error:
        raise _unfit(f"{folder / WEIGHTS} cannot be read ({error})", "Put the adapter there again") from error


_ANOTHER = "Give another adapter, or merge this one into the base and start from that"


def _read_config(folder: Path) -> dict[str, Any]:
    if not (folder / CONFIG).is_file():
        raise _unfit(f"lora.from: {folder} has no {CONFIG}", "Give the folder of an adapter in PEFT's format")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise _unfit(f"{folder / CONFIG} is not JSON: {error}", "Put the adapter there again") from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise _unfit(f"{folder / CONFIG}: peft_type is {kind!r}, not LORA", _ANOTHER)
    if not (folder / WEIGHTS).is_file():
        raise _unfit(
            f"lora.from: {folder} has no {WEIGHTS}",
            "Save it as safetensors; a pickle (adapter_model.bin) is never loaded",
        )
    found: dict[str, Any] = config
    return found


def _check_kind(folder: Path, config: Mapping[str, Any], settings: LoRASettings) -> None:
    file = folder / CONFIG
    for key, what in _VARIANTS.items():
        if config.get(key):
            raise _unfit(f"{file}: {key} is set, so {what}, which no run goes on with", _ANOTHER)
    if config.get("bias", "none") != "none":
        raise _unfit(f"{file}: bias is {config['bias']}: biases of the base were trained too", _ANOTHER)
    if config.get("init_lora_weights") not in _PLAIN_INITIAL_WEIGHTS:
        raise _unfit(
            f"{file}: init_lora_weights is {config['init_lora_weights']}, which changes the base", _ANOTHER
        )
    for key, what, own in (
        ("rank_pattern", "ranks", settings.rank_pattern),
        ("alpha_pattern", "scales", settings.alpha_pattern),
    ):
        fused = alpha_of_fused(settings) if key == "alpha_pattern" else {}
        found = {name: value for name, value in (config.get(key) or {}).items() if fused.get(name) != value}
        if found != own:
            raise _unfit(f"{file}: {key} is not the job's: some modules have {what} of their own", _ANOTHER)


def _check_base(folder: Path, named: Any, base: str) -> None:
    """An adapter says of what it is; an absolute path, of the machine where it was made, says nothing."""
    if not isinstance(named, str) or not named or named.startswith(("/", ".", "~")):
        return
    if named.removeprefix(_HUB).rstrip("/") != base.removeprefix(_HUB).rstrip("/"):
        raise _unfit(
            f"{folder / CONFIG}: base_model_name_or_path is {named}, and model.uri {base}",
            "Train on the adapter's own base; if both are the same model, correct the file",
        )


def _check_settings(folder: Path, config: Mapping[str, Any], settings: LoRASettings) -> None:
    fields = {
        "r": ("lora.rank", settings.rank),
        "lora_alpha": ("lora.alpha", settings.alpha),
        "use_rslora": ("lora.useRslora", settings.use_rslora),
    }
    for key, (field, own) in fields.items():
        found = config.get(key, False if key == "use_rslora" else None)
        if found != own:
            raise _unfit(
                f"{field}: is {_written(own)}, and {key} of {folder / CONFIG} {_written(found)}",
                f"Set {field} to {_written(found)}: the adapter goes on as it is",
            )


def _check_tensors(folder: Path, expected: Mapping[str, Shape]) -> None:
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as source:
            found = {name: tuple(source.get_slice(name).get_shape()) for name in source.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _unfit(f"{folder / WEIGHTS} cannot be read ({error})", "Put the adapter there again") from error
    if missing := expected.keys() - found.keys():
        raise _unfit(
            f"lora.targets: {_modules(missing)} have no adapter in {folder}, which lacks {min(missing)}",
            "Name the targets that it has",
        )
    if more := found.keys() - expected.keys():
        raise _unfit(
            f"lora.targets: leaves out {_modules(more)}, which have adapters in {folder}, such as "
            f"{min(more)}",
            "Name the targets that it has",
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise _unfit(
                f"{folder / WEIGHTS}: {name} has shape {list(found[name])}, this base needs {list(shape)}",
                "Train on the adapter's own base",
            )


def _peft_shapes(name: str, shape: torch.Size, names: CheckpointNames) -> Iterator[tuple[str, Shape]]:
    own = tuple(shape[-2:])
    for module, side in names.adapter_modules(name, num_experts=shape[0]):
        yield f"{PEFT_PREFIX}{module}.{side}.weight", own


@torch.no_grad()
def _load(source: Any, name: str, parameter: torch.Tensor, names: CheckpointNames) -> None:
    target, slices = local_tensor(parameter), shard_slices(parameter)
    if not target.numel():
        return
    tensors = [tensor for tensor, _ in _peft_shapes(name, parameter.shape, names)]
    if parameter.dim() == 2:
        target.copy_(_slice(source, tensors[0], slices))
        return
    first = slices[0].start or 0
    for number in range(target.shape[0]):
        target[number].copy_(_slice(source, tensors[first + number], slices[1:]))


def _slice(source: Any, name: str, slices: Sequence[slice]) -> torch.Tensor:
    values: torch.Tensor = source.get_slice(name)[tuple(slices)]
    if not values.isfinite().all():
        raise _unfit(f"lora.from: {name} is not finite", "Give another adapter")
    return values


def _modules(tensors: Collection[str]) -> str:
    names = sorted({tensor.rsplit(".", 3)[-3] for tensor in tensors})
    return ", ".join(names)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _unfit(message: str, remedy: str) -> DataError:
    return DataError(message, Reason.ADAPTER_MISMATCH, remedy=remedy)
