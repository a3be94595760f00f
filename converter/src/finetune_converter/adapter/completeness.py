"""What adapter_config.json promises and the adapter's file does not hold."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from finetune_converter.adapter.config import AdapterConfig
from finetune_converter.adapter.names import Keys
from finetune_converter.adapter.targets import DOWN, GATE_UP, Targets
from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.quantization import SCALE

Shapes = Mapping[str, tuple[int, ...]]
_NUMBER = re.compile(r"\.(\d+)(?=\.)")
_SHOWN = 4


def check_saved_modules(
    path: Path, keys: Keys, config: AdapterConfig, shapes: Shapes, base_config: Mapping[str, Any]
) -> None:
    """Raises Failure(AdapterInvalid) for a module of modules_to_save of which a tensor is not in the file."""
    names = [name for name in _known_to_transformers(shapes, base_config) if not name.endswith(SCALE)]
    for saved in config.saved:
        # PEFT's rule (peft.utils.other._set_trainable): the end of the name, dot or not.
        wanted = [name for name in names if any(module.endswith(saved) for module in _modules_of(name))]
        lost = [name for name in wanted if name not in keys.saved]
        if wanted and not lost:
            continue
        fact = f"the file does not hold {lost[0]!r}" if lost else "the base has no such module"
        raise Failure(
            f"{path}: adapter_config.json names {saved!r} in modules_to_save, and {fact}",
            Reason.ADAPTER_INVALID,
            "Save the adapter again with PEFT, from the model that was trained",
        )


def lost_modules(
    path: Path, keys: Keys, config: AdapterConfig, shapes: Shapes, base_config: Mapping[str, Any]
) -> tuple[str, ...]:
    """A sentence for each kind of module that is adapted in some layers, and lost in others that it names.

    Raises Failure(AdapterMismatch) when it names none of the base's.
    """
    found = {_stacked_name(pair.module) for pair in keys.pairs}
    kinds = {_kind(name) for name in found}
    adapted = dict.fromkeys(_adapted(config.targets, _known_to_transformers(shapes, base_config)))
    if not adapted:
        raise Failure(
            f"{path}: target_modules and target_parameters of adapter_config.json name nothing of the base",
            Reason.ADAPTER_MISMATCH,
            "Use the base model that the adapter was trained on",
        )
    lost: dict[str, list[str]] = {}
    for name in adapted:
        if name not in found and _kind(name) in kinds:
            lost.setdefault(_kind(name), []).append(name)
    return tuple(_sentence(kind, names) for kind, names in lost.items())


def _sentence(kind: str, names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"The adapter adapts {kind}, but holds nothing for {shown}: they stay the base's."


def _adapted(targets: Targets, names: Iterable[str]) -> Iterator[str]:
    """The modules that adapter_config.json names among the base's tensors, experts by their stack."""
    for name in names:
        module = name.removesuffix(".weight")
        if module == name:
            continue
        stack = _stacked_name(module)
        stacked = stack != module and any(
            targets.has_parameter(f"{stack}.{leaf}") for leaf in (GATE_UP, DOWN)
        )
        if stacked or targets.has_parameter(name) or targets.has_module(module):
            yield stack


def _stacked_name(module: str) -> str:
    """One name for all experts of a layer, however they are named."""
    stack = re.match(r".+\.experts(?=\.|$)", module)
    return stack[0] if stack else module


def _known_to_transformers(shapes: Shapes, base_config: Mapping[str, Any]) -> Iterator[str]:
    """Without the layers after the last one, which predict further tokens: transformers leaves them out."""
    layers = base_config.get("num_hidden_layers")
    for name in shapes:
        number = _NUMBER.search(name)
        if not (number and isinstance(layers, int) and int(number[1]) >= layers):
            yield name


def _modules_of(name: str) -> Iterator[str]:
    """The modules that a tensor is in, from the inside out."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _kind(name: str) -> str:
    """A name without its layer's number."""
    return _NUMBER.sub("", name, count=1).removeprefix("model.layers.").removeprefix("model.")
