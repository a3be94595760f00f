"""Which tensors of the base every key of an adapter changes, and how."""

import difflib
import re
from collections.abc import Mapping
from math import isclose
from pathlib import Path
from typing import Any

from finetune_converter.adapter.config import AdapterConfig
from finetune_converter.adapter.fused_experts import fused_parameter, fused_updates
from finetune_converter.adapter.names import Keys, Pair
from finetune_converter.adapter.targets import ROUTER, STACKED
from finetune_converter.adapter.updates import LowRank, Replacement, Update, whole
from finetune_converter.adapter.vocabulary import check_tied, resized
from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.dtypes import COMPUTED
from finetune_converter.model_files.header import TensorEntry

Shapes = Mapping[str, tuple[int, ...]]

_REMEDY = "Use the base model that the adapter was trained on"
_TOGETHER = "Keep adapter_config.json and adapter_model.safetensors of the same training together"
_EXPERT = re.compile(r"(?P<experts>.+\.experts)\.\d+\.(?P<leaf>[^.]+)")


def match(
    path: Path, keys: Keys, config: AdapterConfig, shapes: Shapes, base_config: Mapping[str, Any]
) -> dict[str, Update]:
    """Base tensor -> update, for every key of the adapter; a key that fits nothing is an error."""
    updates: dict[str, Update] = {}
    below = dict(keys.base_layers)
    for pair in keys.pairs:
        check_tied(path, pair.a.name, f"{pair.module}.weight", base_config)
        for name, update in _updates_of(path, pair, config, shapes, below).items():
            _add(path, updates, name, update, shapes)
    # The weight below an adapter that is not there is a weight all the same: PEFT loads it.
    for name, entry in {**keys.saved, **below}.items():
        check_tied(path, entry.name, name, base_config)
        if name not in shapes:
            raise _no_match(path, entry.name, name, shapes)
        _add(path, updates, name, Replacement(entry=entry), shapes)
    if not updates:
        raise Failure(Reason.ADAPTER_INVALID, f"{path}: holds no tensors", "Train the adapter first")
    return updates


def _updates_of(
    path: Path, pair: Pair, config: AdapterConfig, shapes: Shapes, below: dict[str, TensorEntry]
) -> dict[str, LowRank]:
    """Takes what is below the pair out of `below`."""
    for entry in (pair.a, pair.b):
        if len(entry.shape) != 2 or 0 in entry.shape or entry.dtype not in COMPUTED:
            raise Failure(
                Reason.ADAPTER_INVALID,
                f"{path}: tensor {entry.name!r}: {entry.dtype} {list(entry.shape)} is not a LoRA matrix",
                "Write the adapter again, with its shards gathered first if they were spread over GPUs",
            )
    target = f"{pair.module}.weight"
    if target not in shapes:
        parameter = fused_parameter(path, pair, config, shapes)
        if parameter is None:
            raise _no_match(path, pair.a.name, target, shapes)
        _check_targeted(path, pair, parameter, config)
        return dict(fused_updates(path, pair, parameter, config, shapes))
    name = _name_in_config(path, pair, config)
    rank = _rank(path, pair, config.rank_of(name))
    scale = config.scale_of(name, rank)
    _check_as_stacked(path, pair, scale, rank, config)
    return {
        target: LowRank(
            a=whole(pair.a),
            b=whole(pair.b),
            scale=scale,
            transposed=pair.embedding,
            below=below.pop(target, None),
        )
    }


def _name_in_config(path: Path, pair: Pair, config: AdapterConfig) -> str:
    """The name that patterns are matched with: the parameter's where that is what is adapted."""
    parameter, leaf = f"{pair.module}.weight", pair.module.rpartition(".")[2]
    if config.targets.has_parameter(parameter):
        return parameter
    if leaf == ROUTER and ROUTER in config.targets.stacked_modules():
        return parameter
    if not config.targets.has_module(pair.module):
        raise _not_targeted(path, pair)
    return pair.module


def _check_targeted(path: Path, pair: Pair, parameter: str, config: AdapterConfig) -> None:
    """Of stacked experts: by the parameter's name, or by its modules', which PEFT takes to mean it."""
    named = {STACKED.get(leaf) for leaf in config.targets.stacked_modules()}
    if not config.targets.has_parameter(parameter) and parameter.rpartition(".")[2] not in named:
        raise _not_targeted(path, pair)


def _not_targeted(path: Path, pair: Pair) -> Failure:
    return Failure(
        Reason.ADAPTER_MISMATCH,
        f"{path}: tensor {pair.a.name!r}: adapter_config.json does not adapt {pair.module!r} "
        "(target_modules, target_parameters, exclude_modules, layers_to_transform, modules_to_save), so that "
        "PEFT leaves it out",
        _TOGETHER,
    )


def _check_as_stacked(path: Path, pair: Pair, scale: float, rank: int, config: AdapterConfig) -> None:
    """An expert's own adapter weighs what it weighs once PEFT has stacked it for transformers 5."""
    expert = _EXPERT.fullmatch(pair.module)
    if expert is None or expert["leaf"] not in config.targets.stacked_modules():
        return
    parameter = f"{expert['experts']}.{STACKED[expert['leaf']]}"
    stacked = config.scale_of(parameter, rank * config.halves(parameter))
    if not isclose(scale, stacked, rel_tol=1e-6):
        raise Failure(
            Reason.ADAPTER_MISMATCH,
            f"{path}: tensor {pair.a.name!r}: adapter_config.json scales it by {scale:.6g} under this name "
            f"and by {stacked:.6g} as {parameter!r}, which PEFT 0.21 makes of it",
            f"Give {parameter.rpartition('.')[2]!r} an alpha_pattern so that both scales are the same",
        )


def _rank(path: Path, pair: Pair, expected: int) -> int:
    rank_a, rank_b = pair.a.shape[0], pair.b.shape[1]
    if rank_a == rank_b == expected:
        return rank_a
    raise Failure(
        Reason.ADAPTER_MISMATCH,
        f"{path}: tensors {pair.a.name!r} {list(pair.a.shape)} and {pair.b.name!r} {list(pair.b.shape)} "
        f"are not of rank {expected}, which adapter_config.json gives them",
        _TOGETHER,
    )


def _add(path: Path, updates: dict[str, Update], name: str, update: Update, shapes: Shapes) -> None:
    entries = [update.entry] if isinstance(update, Replacement) else [update.a.entry]
    found = {entries[0].name: update.entry.shape if isinstance(update, Replacement) else update.shape}
    if isinstance(update, LowRank) and update.below:
        found[update.below.name] = update.below.shape
    if name in updates:
        raise Failure(
            Reason.ADAPTER_INVALID,
            f"{path}: tensor {entries[0].name!r}: a second update of {name!r}",
            "Write the adapter again",
        )
    for key, shape in found.items():
        if shape == shapes[name]:
            continue
        if failure := resized(path, key, name, shape, shapes[name]):
            raise failure
        raise Failure(
            Reason.ADAPTER_MISMATCH,
            f"{path}: tensor {key!r}: its update is {list(shape)}, "
            f"the base's {name!r} is {list(shapes[name])}",
            _REMEDY,
        )
    updates[name] = update


def _no_match(path: Path, key: str, target: str, shapes: Shapes) -> Failure:
    leaf = ".".join(target.split(".")[-2:])
    near = difflib.get_close_matches(target, [name for name in shapes if name.endswith(leaf)][:2000], n=1)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    return Failure(
        Reason.ADAPTER_MISMATCH, f"{path}: tensor {key!r}: the base has no {target!r}{hint}", _REMEDY
    )
