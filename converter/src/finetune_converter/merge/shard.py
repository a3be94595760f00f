"""Writes one file of the merged model."""

from collections.abc import Callable
from pathlib import Path

import torch

from finetune_converter.adapter.adapter import Adapter
from finetune_converter.checkpoint.dtypes import TORCH
from finetune_converter.checkpoint.duplicate import duplicate, reflink
from finetune_converter.checkpoint.hashed_writer import FileDigest, HashedWriter, digest_file
from finetune_converter.checkpoint.header_bytes import encode_header
from finetune_converter.checkpoint.model_folder import ModelFolder
from finetune_converter.checkpoint.patch_writer import PatchWriter
from finetune_converter.merge.compute import as_bytes, merged_bands, rounded
from finetune_converter.merge.plan import Carry, MergePlan, Output, Scales, Weight

Tick = Callable[[], None]
Writer = HashedWriter | PatchWriter


class ShardWriter:
    """Writes files of a plan into a folder. Keeps the scales of a weight until they are written too."""

    def __init__(self, plan: MergePlan, base: ModelFolder, adapter: Adapter | None, folder: Path) -> None:
        self._plan, self._base, self._adapter, self._folder = plan, base, adapter, folder
        self._scales: dict[str, torch.Tensor] = {}

    def write(self, name: str, known: FileDigest | None, tick: Tick = lambda: None) -> FileDigest:
        """Write a file and return its digest; `known` is the base file's, which an untouched file shares."""
        target = self._folder / name
        target.unlink(missing_ok=True)
        if name in self._plan.untouched:
            duplicate(self._base.path / name, target)
            digest = known or digest_file(target)
        elif name in self._plan.same_layout and reflink(self._base.path / name, target):
            digest = self._patch(name, target, tick)
        else:
            digest = self._rewrite(name, target, tick)
        self._scales.clear()
        return digest

    def _patch(self, name: str, target: Path, tick: Tick) -> FileDigest:
        """Overwrite what changes in a file that shares its extents with the base's; write nothing else."""
        entries = self._base.files[name].header.tensors
        with PatchWriter(target) as writer:
            for output in self._plan.files[name]:
                if not isinstance(output, Carry):
                    writer.seek(entries[output.spec.name].begin)
                    self._write_tensor(output, writer)
                tick()
        return digest_file(target)

    def _rewrite(self, name: str, target: Path, tick: Tick) -> FileDigest:
        outputs = self._plan.files[name]
        writer = HashedWriter(target)
        try:
            writer.write(self._header(name))
            for output in outputs:
                self._write_tensor(output, writer)
                tick()
            return writer.finish()
        finally:
            writer.close()

    def _header(self, name: str) -> bytes | memoryview:
        """The base's own, byte for byte, where it still holds."""
        file = self._base.files[name]
        if name in self._plan.same_layout:
            return as_bytes(file.read_bytes(0, file.header.data_begin))
        return encode_header(
            (output.spec for output in self._plan.files[name]), file.header.metadata or {"format": "pt"}
        )

    def _write_tensor(self, output: Output, writer: Writer) -> None:
        match output:
            case Carry(source=source):
                entry = source.entry
                for chunk in self._base.files[source.file].chunks(entry.begin, entry.end):
                    writer.write(as_bytes(chunk))
            case Weight():
                self._write_weight(output, writer)
            case Scales(spec=spec, weight=weight):
                scales = self._scales.pop(weight.spec.name, None)
                scales = self._compute_scales(weight) if scales is None else scales
                writer.write(as_bytes(scales.to(TORCH[spec.dtype])))

    def _write_weight(self, weight: Weight, writer: Writer) -> None:
        scales = []
        for band in merged_bands(weight, self._base, self._adapter, self._plan.block):
            values, band_scales = rounded(weight, band, self._plan.block)
            writer.write(as_bytes(values))
            if band_scales is not None:
                scales.append(band_scales)
        if scales:
            self._scales[weight.spec.name] = torch.cat(scales)

    def _compute_scales(self, weight: Weight) -> torch.Tensor:
        """The scales of a weight that is written later, or in another file."""
        block = self._plan.block
        parts = (
            rounded(weight, band, block)[1] for band in merged_bands(weight, self._base, self._adapter, block)
        )
        return torch.cat([part for part in parts if part is not None])
