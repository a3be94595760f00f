"""Writes one file of the merged model."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_converter.adapter.adapter import Adapter
from finetune_converter.files.digest import FileDigest, digest_file
from finetune_converter.merge.plan import Carry, MergePlan, Output, Scales, Weight
from finetune_converter.model_files.duplicate import duplicate, reflink
from finetune_converter.model_files.hashed_writer import HashedWriter
from finetune_converter.model_files.header_bytes import encode_header
from finetune_converter.model_files.model_folder import ModelFolder

if TYPE_CHECKING:
    import torch

    from finetune_converter.adapter.factors import FactorReader

Tick = Callable[[], None]


class ShardWriter:
    """Writes files of a plan into a folder. Keeps the scales of a weight until they are written too."""

    def __init__(self, plan: MergePlan, base: ModelFolder, adapter: Adapter | None, folder: Path) -> None:
        self._plan, self._base, self._adapter, self._folder = plan, base, adapter, folder
        self._scales: dict[str, torch.Tensor] = {}

    def write(self, name: str, known: FileDigest | None, tick: Tick = lambda: None) -> FileDigest:
        """Write a file and return its digest; `known` is the base file's, which an untouched file shares."""
        # A snapshot of a cache holds links: the file itself is shared, never the link.
        source, target = (self._base.path / name).resolve(), self._folder / name
        target.unlink(missing_ok=True)
        if name in self._plan.untouched:
            duplicate(source, target)
            # The base's file and not its copy: that one is not in the page cache.
            return known or digest_file(source)
        shared = name in self._plan.same_layout and reflink(source, target)
        writer = HashedWriter(target, shared=shared)
        try:
            self._write_header(name, writer)
            for output in self._plan.files[name]:
                self._write_tensor(output, writer)
                tick()
            return writer.finish()
        finally:
            writer.close()
            self._scales.clear()

    @cached_property
    def _factors(self) -> "FactorReader | None":
        from finetune_converter.adapter.factors import FactorReader

        return FactorReader(self._adapter.file) if self._adapter else None

    def _write_header(self, name: str, writer: HashedWriter) -> None:
        """The base's own, byte for byte, where it still holds."""
        file = self._base.files[name]
        if name in self._plan.same_layout:
            writer.carry(file, 0, file.header.data_begin)
            return
        specs = (output.spec for output in self._plan.files[name])
        writer.write(encode_header(specs, file.header.metadata or {"format": "pt"}))

    def _write_tensor(self, output: Output, writer: HashedWriter) -> None:
        match output:
            case Carry(source=source):
                writer.carry(self._base.files[source.file], source.entry.begin, source.entry.end)
            case Weight():
                self._write_weight(output, writer)
            case Scales():
                self._write_scales(output, writer)

    def _write_weight(self, weight: Weight, writer: HashedWriter) -> None:
        # torch takes seconds to import: what is carried over before does not wait for it.
        from finetune_converter.merge.compute import joined, rounded_bands
        from finetune_converter.model_files.torch_dtypes import as_bytes

        scales = []
        for values, band_scales in rounded_bands(weight, self._base, self._factors, self._plan.block):
            writer.write(as_bytes(values))
            if band_scales is not None:
                scales.append(band_scales)
        if scales:
            self._scales[weight.spec.name] = joined(scales)

    def _write_scales(self, output: Scales, writer: HashedWriter) -> None:
        """Those of a weight that was written just now, or is written later, or in another file."""
        from finetune_converter.merge.compute import joined, rounded_bands
        from finetune_converter.model_files.torch_dtypes import as_bytes, cast

        weight = output.weight
        scales = self._scales.pop(weight.spec.name, None)
        if scales is None:
            bands = rounded_bands(weight, self._base, self._factors, self._plan.block)
            scales = joined([part for _, part in bands if part is not None])
        writer.write(as_bytes(cast(scales, output.spec.dtype)))
