"""What the merged model will hold: every file and tensor, and where each comes from. Nothing is read yet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from finetune_converter.adapter.adapter import Adapter
from finetune_converter.adapter.updates import Replacement, Update
from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.failure import Failure, Reason
from finetune_converter.merge.companions import Companions, plan_companions
from finetune_converter.model_files.dtypes import COMPUTED, FLOAT8
from finetune_converter.model_files.export_dtype import Dtype, merged_config, target_dtype
from finetune_converter.model_files.header import TensorEntry
from finetune_converter.model_files.header_bytes import TensorSpec
from finetune_converter.model_files.model_folder import Located, ModelFolder
from finetune_converter.model_files.quantization import FIELD, SCALE, block_format


@dataclass(frozen=True, kw_only=True)
class Carry:
    """The base's bytes as they are."""

    spec: TensorSpec
    source: Located


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A computed weight: the base's, dequantised with `scales`, plus `update`, in the dtype of `spec`."""

    spec: TensorSpec
    source: Located
    scales: Located | None = None
    update: Update | None = None


@dataclass(frozen=True, kw_only=True)
class Scales:
    """The block scales of a computed FP8 weight."""

    spec: TensorSpec
    weight: Weight


Output = Carry | Weight | Scales


@dataclass(frozen=True, kw_only=True)
class MergePlan:
    """The merged model, file by file in the order of the base."""

    files: Mapping[str, tuple[Output, ...]]
    untouched: frozenset[str]
    """Files whose every byte is the base's."""
    same_layout: frozenset[str]
    """Files that hold the base's tensors where the base has them: the base's header holds for them."""
    block: BlockFormat
    config: dict[str, Any]
    companions: Companions
    notes: tuple[str, ...]
    """What the model card is to say of base and adapter, a sentence each."""

    @property
    def outputs(self) -> Iterator[Output]:
        """All tensors."""
        for outputs in self.files.values():
            yield from outputs

    @property
    def total_size(self) -> int:
        """Bytes of all tensors, as the index's metadata counts them."""
        return sum(output.spec.nbytes for output in self.outputs)


def plan_merge(base: ModelFolder, adapter: Adapter, dtype: Dtype) -> MergePlan:
    """Raises Failure for an FP8 tensor without scales, or an update of a dtype that cannot be added to."""
    block, updates = block_format(base.config), adapter.updates
    companions = plan_companions(base, adapter.file.path.parent)
    files: dict[str, tuple[Output, ...]] = {}
    for name, file in base.files.items():
        entries = file.header.tensors.values()
        files[name] = tuple(
            output for entry in entries for output in _outputs(base, entry.name, updates, dtype, block)
        )
    same_layout = frozenset(
        name
        for name, outputs in files.items()
        if [_layout(output.spec) for output in outputs]
        == [_layout(entry) for entry in base.files[name].header.tensors.values()]
    )
    return MergePlan(
        files=files,
        untouched=frozenset(
            name for name in same_layout if all(isinstance(output, Carry) for output in files[name])
        ),
        same_layout=same_layout,
        block=block,
        config=merged_config(base.config, dtype, block),
        companions=companions,
        notes=(*adapter.notes, *companions.notes),
    )


def index_of(plan: MergePlan, base: ModelFolder) -> dict[str, object]:
    """model.safetensors.index.json of the merged model."""
    weight_map = {output.spec.name: name for name, outputs in plan.files.items() for output in outputs}
    metadata = {**base.index_metadata, "total_size": plan.total_size}
    return {"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))}


def _layout(tensor: TensorSpec | TensorEntry) -> tuple[str, str, tuple[int, ...]]:
    return tensor.name, tensor.dtype, tensor.shape


def _outputs(
    base: ModelFolder, name: str, updates: Mapping[str, Update], dtype: Dtype, block: BlockFormat
) -> Iterator[Output]:
    """What one tensor of the base becomes: itself, a computed weight with or without scales, or nothing."""
    weight_name = name.removesuffix(SCALE)
    if weight_name != name and weight_name in base.tensors:
        weight = _weight(base, weight_name, updates, dtype)
        if isinstance(weight, Carry):
            yield _carry(base.tensors[name])
        elif weight.spec.dtype == FLOAT8:
            entry = base.tensors[name].entry
            yield Scales(spec=TensorSpec(name=name, dtype=entry.dtype, shape=entry.shape), weight=weight)
        return
    output = _weight(base, name, updates, dtype)
    yield output
    if isinstance(output, Weight) and output.spec.dtype == FLOAT8 and name + SCALE not in base.tensors:
        shape = block.scale_shape(output.spec.shape)
        yield Scales(spec=TensorSpec(name=name + SCALE, dtype="F32", shape=shape), weight=output)


def _weight(base: ModelFolder, name: str, updates: Mapping[str, Update], dtype: Dtype) -> Carry | Weight:
    source, update = base.tensors[name], updates.get(name)
    entry = source.entry
    target = target_dtype(entry, dtype, quantised=base.config.get(FIELD) is not None)
    if update is None and target == entry.dtype:
        return _carry(source)
    if entry.dtype not in COMPUTED and not isinstance(update, Replacement):
        raise Failure(
            f"{source.file}: tensor {name!r}: {entry.dtype} cannot be computed with",
            Reason.BASE_INVALID,
            "Use the base in FP8 blocks or in bfloat16",
        )
    scales = base.tensors.get(name + SCALE)
    if entry.dtype == FLOAT8 and scales is None:
        raise Failure(
            f"{source.file}: tensor {name!r} is FP8 and has no {name + SCALE!r}",
            Reason.BASE_INVALID,
            "Fetch the base again: its scales are missing",
        )
    spec = TensorSpec(name=name, dtype=target, shape=entry.shape)
    return Weight(spec=spec, source=source, scales=scales if entry.dtype == FLOAT8 else None, update=update)


def _carry(source: Located) -> Carry:
    entry = source.entry
    return Carry(spec=TensorSpec(name=entry.name, dtype=entry.dtype, shape=entry.shape), source=source)
