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
from finetune_converter.adapter.targets import GATE_UP, ROUTER, STACKED
from finetune_converter.adapter.updates import LowRank, Replacement, Update, whole
from finetune_converter.adapter.vocabulary import check_tied, resized
from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.dtypes import COMPUTED
from finetune_converter.model_files.header import TensorEntry

Shapes = Mapping[str, tuple[int, ...]]

_REMEDY = "Use the base model that the adapter was trained on"
_TOGETHER = "Keep adapter_config.json and adapter_model.safetensors of the same training together"
_EXPERT = re.compile(r"(?P<experts>.+\.experts)\.\d+\.(?P<leaf>gate_proj|up_proj|down_proj)")


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
    for name, entry in below.items():
        module = name.rpartition(".")[0]
        if (
            name in shapes
            and not config.targets.has_module(module)
            and not config.targets.has_parameter(name)
        ):
            raise _not_targeted(path, entry.name, module)
    # The weight below an adapter that is not there is a weight all the same: PEFT loads it.
    for name, entry in {**keys.saved, **below}.items():
        check_tied(path, entry.name, name, base_config)
        if name not in shapes:
            raise _no_match(path, entry.name, name, shapes)
        _add(path, updates, name, Replacement(entry=entry), shapes)
    if not updates:
        raise Failure(f"{path}: holds no tensors", Reason.ADAPTER_INVALID, "Train the adapter first")
    return updates


def _updates_of(
    path: Path, pair: Pair, config: AdapterConfig, shapes: Shapes, below: dict[str, TensorEntry]
) -> dict[str, LowRank]:
    """Takes what is below the pair out of `below`."""
    for entry in (pair.a, pair.b):
        if len(entry.shape) != 2 or 0 in entry.shape or entry.dtype not in COMPUTED:
            raise Failure(
                f"{path}: tensor {entry.name!r}: {entry.dtype} {list(entry.shape)} is not a LoRA matrix",
                Reason.ADAPTER_INVALID,
                "Write the adapter again, with its shards gathered first if they were spread over GPUs",
            )
    target = f"{pair.module}.weight"
    _check_magnitude(path, pair, config)
    if target not in shapes:
        parameter = fused_parameter(path, pair, config, shapes)
        if parameter is None:
            raise _no_match(path, pair.a.name, target, shapes)
        _check_targeted(path, pair, parameter, config)
        return dict(fused_updates(path, pair, parameter, config, shapes))
    if expert := _EXPERT.fullmatch(pair.module):
        scale = _scale_of_expert(path, pair, expert, config)
    else:
        name = _name_in_config(path, pair, config)
        scale = config.scale_of(name, _rank(path, pair, config.rank_of(name)))
    return {
        target: LowRank(
            a=whole(pair.a),
            b=whole(pair.b),
            scale=scale,
            transposed=pair.embedding,
            below=below.pop(target, None),
            magnitude=pair.magnitude,
        )
    }


def _check_magnitude(path: Path, pair: Pair, config: AdapterConfig) -> None:
    """DoRA's: there with use_dora and only then, one for each row of lora_B, and of no expert."""
    found = pair.magnitude
    if config.dora and found is None:
        raise Failure(
            f"{path}: tensor {pair.b.name!r}: use_dora is set in adapter_config.json, and there is no "
            "lora_magnitude_vector beside it",
            Reason.ADAPTER_INVALID,
            _TOGETHER if not pair.embedding else "Leave embeddings out of target_modules",
        )
    if found is None:
        return
    if not config.dora:
        fault = "use_dora is not set in adapter_config.json, so that PEFT leaves it out"
    elif ".experts" in pair.module:
        fault = "PEFT 0.21 knows no DoRA of experts, which transformers 5 stacks"
    elif found.shape != pair.b.shape[:1] or found.dtype not in COMPUTED:
        fault = f"{found.dtype} {list(found.shape)} is no norm for each of the rows of {list(pair.b.shape)}"
    else:
        return
    raise Failure(f"{path}: tensor {found.name!r}: {fault}", Reason.ADAPTER_INVALID, _TOGETHER)


def _name_in_config(path: Path, pair: Pair, config: AdapterConfig) -> str:
    """The name that patterns are matched with: the parameter's where that is what is adapted."""
    parameter, leaf = f"{pair.module}.weight", pair.module.rpartition(".")[2]
    if config.targets.has_parameter(parameter):
        return parameter
    if not config.targets.has_module(pair.module):
        raise _not_targeted(path, pair.a.name, pair.module)
    if leaf in STACKED:
        raise Failure(
            f"{path}: tensor {pair.a.name!r}: PEFT 0.21 takes {leaf!r} in target_modules to mean routed "
            "experts, and leaves out the dense and shared MLPs",
            Reason.ADAPTER_MISMATCH,
            f"Name them in target_parameters of adapter_config.json, as {leaf + '.weight'!r}",
        )
    return parameter if leaf == ROUTER else pair.module


def _scale_of_expert(path: Path, pair: Pair, expert: re.Match[str], config: AdapterConfig) -> float:
    """The scale of one expert's own adapter, once PEFT has stacked it for transformers 5.

    What its own name says must be the same: that is how it was trained where experts are modules.
    """
    leaf = expert["leaf"]
    parameter = f"{expert['experts']}.{STACKED[leaf]}"
    stacked, halves = config.targets.stacked_modules(), config.halves(parameter)
    if leaf not in stacked and not config.targets.has_parameter(parameter):
        raise _not_targeted(path, pair.a.name, pair.module)
    if halves == 1 and STACKED[leaf] == GATE_UP and not config.targets.has_parameter(parameter):
        raise _differs(
            path, pair, f"PEFT stacks gate_proj and up_proj, and target_modules names {leaf!r} alone"
        )
    rank = _rank(path, pair, config.rank_of(parameter) // halves)
    scale = config.scale_of(parameter, rank * halves)
    own = config.scale_of(pair.module, rank)
    if leaf in stacked and not isclose(scale, own, rel_tol=1e-6):
        fact = f"its scale is {own:.6g} under this name and {scale:.6g} as {parameter!r}"
        raise _differs(path, pair, f"{fact}, which PEFT 0.21 makes of it")
    return scale


def _differs(path: Path, pair: Pair, fact: str) -> Failure:
    return Failure(
        f"{path}: tensor {pair.a.name!r}: {fact}",
        Reason.ADAPTER_MISMATCH,
        "Give the stacked parameter a rank_pattern and an alpha_pattern with which both are the same",
    )


def _check_targeted(path: Path, pair: Pair, parameter: str, config: AdapterConfig) -> None:
    """Of stacked experts: by the parameter's name, or by its modules', which PEFT takes to mean it."""
    named = {STACKED.get(leaf) for leaf in config.targets.stacked_modules()}
    if not config.targets.has_parameter(parameter) and parameter.rpartition(".")[2] not in named:
        raise _not_targeted(path, pair.a.name, pair.module)


def _not_targeted(path: Path, key: str, module: str) -> Failure:
    return Failure(
        f"{path}: tensor {key!r}: adapter_config.json does not adapt {module!r} "
        "(target_modules, target_parameters, exclude_modules, layers_to_transform, modules_to_save), so that "
        "PEFT leaves it out",
        Reason.ADAPTER_MISMATCH,
        _TOGETHER,
    )


def _rank(path: Path, pair: Pair, expected: int) -> int:
    rank_a, rank_b = pair.a.shape[0], pair.b.shape[1]
    if rank_a == rank_b == expected:
        return rank_a
    raise Failure(
        f"{path}: tensors {pair.a.name!r} {list(pair.a.shape)} and {pair.b.name!r} {list(pair.b.shape)} "
        f"are not of rank {expected}, which adapter_config.json gives them",
        Reason.ADAPTER_MISMATCH,
        _TOGETHER,
    )


def _add(path: Path, updates: dict[str, Update], name: str, update: Update, shapes: Shapes) -> None:
    entries = [update.entry] if isinstance(update, Replacement) else [update.a.entry]
    found = {entries[0].name: update.entry.shape if isinstance(update, Replacement) else update.shape}
    if isinstance(update, LowRank) and update.below:
        found[update.below.name] = update.below.shape
    if name in updates:
        raise Failure(
            f"{path}: tensor {entries[0].name!r}: a second update of {name!r}",
            Reason.ADAPTER_INVALID,
            "Write the adapter again",
        )
    for key, shape in found.items():
        if shape == shapes[name]:
            continue
        if failure := resized(path, key, name, shape, shapes[name]):
            raise failure
        raise Failure(
            f"{path}: tensor {key!r}: its update is {list(shape)}, "
            f"the base's {name!r} is {list(shapes[name])}",
            Reason.ADAPTER_MISMATCH,
            _REMEDY,
        )
    updates[name] = update


def _no_match(path: Path, key: str, target: str, shapes: Shapes) -> Failure:
    leaf = ".".join(target.split(".")[-2:])
    near = difflib.get_close_matches(target, [name for name in shapes if name.endswith(leaf)][:2000], n=1)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    return Failure(
        f"{path}: tensor {key!r}: the base has no {target!r}{hint}", Reason.ADAPTER_MISMATCH, _REMEDY
    )
