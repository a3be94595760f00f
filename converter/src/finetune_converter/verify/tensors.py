"""Every merged tensor against what it must be, computed anew from base and adapter, band by band."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch

from finetune_converter.adapter.adapter import Adapter
from finetune_converter.adapter.factors import FactorReader
from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.arithmetic.finite import all_finite
from finetune_converter.arithmetic.float8 import block_scales, dequantize
from finetune_converter.merge.compute import Band, merged_bands
from finetune_converter.merge.plan import Carry, MergePlan, Scales, Weight
from finetune_converter.model_files.dtypes import FLOAT8
from finetune_converter.model_files.model_folder import ModelFolder
from finetune_converter.model_files.quantization import SCALE
from finetune_converter.model_files.torch_dtypes import TORCH
from finetune_converter.verify.gate import failed

# Half a unit in the last place, relative: 2^-(mantissa bits + 1). Every rounding is to nearest.
_HALF_ULP = {"F64": 2.0**-24, "F32": 2.0**-24, "F16": 2.0**-11, "BF16": 2.0**-8, FLOAT8: 2.0**-4}
# Below the smallest normal number the unit no longer shrinks: half of the smallest step there.
_SUBNORMAL = {"F64": 0.0, "F32": 0.0, "F16": 2.0**-25, "BF16": 0.0, FLOAT8: 2.0**-10}
# fp32 sums of another order than the merge's: a few units of fp32.
_SLACK = 2.0**-20
# Scales may be stored in bf16; one that is a power of two may round to the next by a unit of fp32.
_SCALE, _POWER_OF_TWO = 2.0**-7, 1.0


@dataclass
class KindReport:
    """What was measured of the tensors of one kind, such as self_attn.o_proj."""

    tensors: int = 0
    elements: int = 0
    update_square: float = 0.0
    """Sum of squares of what the adapter adds."""
    error_square: float = 0.0
    """Sum of squares of merged - (base + update): what the dtype's rounding costs."""
    greatest_error: float = 0.0

    def to_json(self) -> dict[str, float | int]:
        """RMS of the rounding error and of the update, and the greatest error."""
        count = max(1, self.elements)
        return {
            "tensors": self.tensors,
            "updateRms": math.sqrt(self.update_square / count),
            "errorRms": math.sqrt(self.error_square / count),
            "greatestError": self.greatest_error,
        }


@dataclass
class TensorReport:
    """What the gate measured of all tensors."""

    identical: int = 0
    adapted: int = 0
    converted: int = 0
    kinds: dict[str, KindReport] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Models:
    """What is compared."""

    plan: MergePlan
    base: ModelFolder
    adapter: Adapter
    merged: ModelFolder

    @cached_property
    def factors(self) -> FactorReader:
        return FactorReader(self.adapter.file)


def check_tensors(models: Models, advance: Callable[[], None] = lambda: None) -> TensorReport:
    """Raises Failure naming the first tensor that is not what base and adapter make of it."""
    report = TensorReport()
    for output in models.plan.outputs:
        match output:
            case Carry():
                _check_carried(output, models)
                report.identical += 1
            case Weight():
                _check_computed(
                    output, models, report.kinds.setdefault(_kind(output.spec.name), KindReport())
                )
                report.adapted += output.update is not None
                report.converted += output.update is None
            case Scales():
                pass  # read with their weight
        advance()
    return report


def _check_carried(output: Carry, models: Models) -> None:
    source, found = output.source, models.merged.tensors[output.spec.name]
    ours = models.merged.files[found.file].chunks(found.entry.begin, found.entry.end)
    theirs = models.base.files[source.file].chunks(source.entry.begin, source.entry.end)
    for chunk, expected in zip(ours, theirs, strict=True):
        if not torch.equal(chunk, expected):
            raise failed(f"{found.file}: tensor {output.spec.name!r} is not the base's, byte for byte")


def _check_computed(weight: Weight, models: Models, kind: KindReport) -> None:
    kind.tensors += 1
    # A replaced tensor may be of a dtype that nobody computes with; a converted one is its own "before".
    before = weight.update is not None and weight.source.entry.dtype in TORCH
    expected = merged_bands(weight, models.base, models.factors, models.plan.block, before=before)
    for band, (values, scales, step) in zip(expected, _read(weight, models), strict=True):
        name, start, stop = weight.spec.name, band.start, band.stop
        if scales is not None:
            _check_scales(weight, band, scales, models.plan.block)
        if not all_finite(values):
            raise failed(f"tensor {name!r}: rows {start} to {stop} hold values that are not finite")
        error = (values - band.values).abs_()
        if bool((error > _bound(band, step, weight.spec.dtype)).any()):
            raise failed(
                f"tensor {name!r}: rows {start} to {stop} differ from base + update by up to "
                f"{error.max():.3g}, more than rounding to {weight.spec.dtype} explains"
            )
        kind.elements += error.numel()
        kind.error_square += float(error.double().square().sum())
        kind.update_square += float((band.values - _before(band)).double().square().sum())
        kind.greatest_error = max(kind.greatest_error, float(error.max()))


def _before(band: Band) -> torch.Tensor:
    """The base's rows; a tensor that only changes its dtype has no others."""
    return band.values if band.before is None else band.before


def _bound(band: Band, step: torch.Tensor | float, dtype: str) -> torch.Tensor:
    """The greatest error that rounding and fp32 sums allow, element by element."""
    magnitude = band.values.abs()
    return magnitude * _HALF_ULP[dtype] + step + (magnitude + _before(band).abs()) * _SLACK


def _check_scales(weight: Weight, band: Band, scales: torch.Tensor, block: BlockFormat) -> None:
    """The scales are those of the merged values: greater ones would lose small values in their steps."""
    fresh = block_scales(band.values, block)
    limit = _POWER_OF_TWO if block.power_of_two else _SCALE
    if bool(((scales - fresh).abs() > fresh * limit).any()):
        raise failed(
            f"tensor {weight.spec.name + SCALE!r}: the scales of rows {band.start} to {band.stop}"
            " are not those of base + update"
        )


def _read(
    weight: Weight, models: Models
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | float]]:
    """The merged weight in fp32, band by band as `merged_bands` cuts it; its scales; its subnormal step."""
    plain = Weight(spec=weight.spec, source=models.merged.tensors[weight.spec.name])
    dtype, block = weight.spec.dtype, models.plan.block
    if dtype != FLOAT8:
        for band in merged_bands(plain, models.merged, None, block):
            yield band.values, None, _SUBNORMAL[dtype]
        return
    located = models.merged.tensors[weight.spec.name + SCALE]
    scales = models.merged.files[located.file].read(located.entry).float()
    if not bool((torch.isfinite(scales) & (scales > 0)).all()):
        raise failed(f"{located.file}: tensor {located.entry.name!r} holds scales that are not above 0")
    for band in merged_bands(plain, models.merged, None, block):
        part = scales[band.start // block.rows : -(-band.stop // block.rows)]
        yield dequantize(band.values, part, block), part, _spread(part, band, block) * _SUBNORMAL[dtype]


def _spread(scales: torch.Tensor, band: Band, block: BlockFormat) -> torch.Tensor:
    """The block scales at every element of the band."""
    return dequantize(torch.ones_like(band.values), scales, block)


def _kind(name: str) -> str:
    """The kind of a tensor: its name without layer and expert numbers."""
    parts = [
        part for part in name.removeprefix("model.").removesuffix(".weight").split(".") if not part.isdigit()
    ]
    return ".".join(parts).removeprefix("layers.")
