"""Every merged tensor against what it must be, computed anew from base and PEFT's factors, band by band."""

import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch

from finetune_converter.model_files.header import TensorEntry
from finetune_converter.model_files.model_folder import Located, ModelFolder
from finetune_converter.verify.expected import Expected
from finetune_converter.verify.gate import failed
from finetune_converter.verify.measured import Measured
from finetune_converter.verify.peft_reference import Change, PeftReference, layer_of
from finetune_converter.verify.rounding import rounded_apart, scaled_to, scales_are_fresh, sums_apart
from finetune_converter.verify.stored import SCALE, Blocks, StoredTensor

_COMPARED_BYTES = 8 * 2**20
_MOST_THREADS = 4
"""As many as keep a fast disk busy; each has some bands in memory."""


@dataclass(frozen=True, kw_only=True)
class Models:
    """What is compared."""

    base: ModelFolder
    merged: ModelFolder
    adapter: PeftReference
    expected: Mapping[str, Expected]
    base_blocks: Blocks
    blocks: Blocks
    """Of the merged model."""


def check_tensors(models: Models, advance: Callable[[], None] = lambda: None) -> list[Measured]:
    """What was measured of each tensor. Raises Failure naming the first that is not base + update."""
    groups: dict[int | None, list[Expected]] = {}
    for tensor in models.expected.values():
        groups.setdefault(layer_of(tensor.name), []).append(tensor)
    measured: list[Measured] = []
    # Tensors side by side use the cores; OpenMP threads inside each would only fight over them, and on a busy
    # machine wait for each other at every operation: 35 s in the place of 2.
    torch.set_num_threads(1)
    with ThreadPoolExecutor(min(_MOST_THREADS, len(os.sched_getaffinity(0)))) as pool:
        for layer, tensors in groups.items():
            changes = models.adapter.changes(layer)
            _check_targets(changes, models.base)
            # Scales are checked with their weight.
            weights = [tensor for tensor in tensors if tensor.same or not tensor.is_scale]
            measured += pool.map(partial(_check_tensor, changes=changes, models=models), weights)
            advance()
    return measured


def _check_tensor(tensor: Expected, *, changes: Mapping[str, Change], models: Models) -> Measured:
    if tensor.same:
        _check_same(tensor.name, models)
        return Measured(name=tensor.name)
    return _check_computed(tensor, changes.get(tensor.name), models)


def _check_targets(changes: Mapping[str, Change], base: ModelFolder) -> None:
    for name, change in changes.items():
        if name not in base.tensors:
            raise failed(f"the adapter changes {name!r}, and the base has no such tensor")
        shape = base.tensors[name].entry.shape
        found = [change.whole.shape] if change.whole else []
        if change.factors:
            found.append((change.factors.b.shape[0], change.factors.a.shape[1]))
        if found != [shape] * len(found):
            raise failed(f"the adapter changes {name!r} as {list(found[0])}; the base's is {list(shape)}")


def _check_same(name: str, models: Models) -> None:
    """Whole tensors, in bytes. A file that is the base's by its inode needs no reading."""
    ours, theirs = models.merged.tensors[name], models.base.tensors[name]
    left, right = models.merged.files[ours.file], models.base.files[theirs.file]
    if left.path.samefile(right.path) and ours.entry == theirs.entry:
        return
    pairs = zip(
        left.chunks(ours.entry.begin, ours.entry.end, _COMPARED_BYTES),
        right.chunks(theirs.entry.begin, theirs.entry.end, _COMPARED_BYTES),
        strict=True,
    )
    if not all(torch.equal(*pair) for pair in pairs):
        raise failed(f"{ours.file}: tensor {name!r} is not the base's, byte for byte")


def _check_computed(tensor: Expected, change: Change | None, models: Models) -> Measured:
    base = StoredTensor(models.base, tensor.name, models.base_blocks)
    merged = StoredTensor(models.merged, tensor.name, models.blocks)
    measured = Measured(name=tensor.name, adapted=change is not None, converted=change is None)
    for start, stop in merged.ranges():
        before = base.rows(start, stop)
        after, apart = expected_rows(change, before, start, stop, models.adapter)
        measured = measured.with_band(before, after, _compare(merged, start, stop, after, apart, models))
    return measured


def expected_rows(
    change: Change | None, before: torch.Tensor, start: int, stop: int, adapter: PeftReference
) -> tuple[torch.Tensor, torch.Tensor]:
    """fp32 rows as base and adapter make them, and how far a sum of another order may be from them."""
    change = change or Change()
    kept = adapter.file.read_rows(change.whole, start, stop).float() if change.whole else before
    if change.factors is None:
        return kept, sums_apart(kept, kept, torch.zeros(()), 0)
    after = kept + change.factors.update(start, stop)
    apart = sums_apart(kept, after, change.factors.products(start, stop), change.factors.rank)
    magnitude = change.factors.magnitude
    return (after, apart) if magnitude is None else scaled_to(magnitude[start:stop], after, apart)


def _compare(
    merged: StoredTensor, start: int, stop: int, after: torch.Tensor, apart: torch.Tensor, models: Models
) -> torch.Tensor:
    """fp32 merged - expected. Raises Failure."""
    name, dtype, blocks = merged.name, merged.located.entry.dtype, models.blocks
    stored, spread, scale_dtype = merged.rows(start, stop), None, None
    if merged.is_float8:
        scales = merged.block_scales(start, stop)
        spread, scale_dtype = blocks.spread(scales, *after.shape), _scales_of(name, models.merged).dtype
        size = blocks.rows, blocks.columns
        if not scales_are_fresh(scales.float(), after, apart, block=size, power_of_two=blocks.power_of_two):
            raise failed(
                f"tensor {name + SCALE!r}: the scales of rows {start} to {stop}"
                " are not those of base + update"
            )
    error = stored - after
    # A sum keeps what is not finite, at a tenth of the cost of looking at each value.
    if not math.isfinite(error.sum()) and not bool(torch.isfinite(error).all()):
        raise failed(f"tensor {name!r}: rows {start} to {stop} hold values that are not finite")
    if bool((error.abs() > rounded_apart(after, apart, dtype, spread, scale_dtype)).any()):
        raise failed(
            f"tensor {name!r}: rows {start} to {stop} differ from base + update by up to "
            f"{error.abs().max():.3g}, more than rounding to {dtype} explains"
        )
    return error


def _scales_of(name: str, folder: ModelFolder) -> TensorEntry:
    located: Located = folder.tensors[name + SCALE]
    return located.entry
