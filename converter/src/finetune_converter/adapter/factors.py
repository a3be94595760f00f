"""The matrices of an update, read from the adapter's file."""

import torch

from finetune_converter.adapter.updates import ExpertColumns, Factor, LowRank
from finetune_converter.arithmetic.bands import bands
from finetune_converter.arithmetic.update import LowRankTensors
from finetune_converter.model_files.header import TensorEntry
from finetune_converter.model_files.tensor_file import TensorFile
from finetune_converter.model_files.torch_dtypes import TORCH


class FactorReader:
    """Reads the adapter for one thread, and keeps the fused tensors that it took apart last."""

    KEPT = 2
    """Experts follow each other, and a layer has two fused tensors."""

    def __init__(self, file: TensorFile) -> None:
        self._file = file
        self._parts: dict[str, torch.Tensor] = {}

    def low_rank(self, update: LowRank) -> LowRankTensors:
        """Both factors in fp32, as they multiply."""
        a, b = self._read(update.a), self._read(update.b)
        if update.transposed:
            a, b = b.T.contiguous(), a.T.contiguous()
        magnitude = self._file.read(update.magnitude).float() if update.magnitude else None
        return LowRankTensors(a=a, b=b, scale=update.scale, magnitude=magnitude)

    def rows(self, entry: TensorEntry, start: int, stop: int) -> torch.Tensor:
        """fp32 rows [start, stop) of a tensor that the adapter brings whole."""
        return self._file.read_rows(entry, start, stop).float()

    def _read(self, factor: Factor) -> torch.Tensor:
        """fp32 of the factor's shape."""
        if factor.parts == 1:
            return self._file.read_rows(factor.entry, factor.start, factor.stop).float()
        parts = self._split_columns(factor.entry, factor.parts, factor.layout)
        return parts[factor.part, factor.start : factor.stop].float()

    def _split_columns(self, entry: TensorEntry, count: int, layout: ExpertColumns) -> torch.Tensor:
        """[count, rows, columns / count]: the columns of each expert.

        They are spread over the whole tensor, so it is read once for all experts.
        """
        if entry.name not in self._parts:
            while len(self._parts) >= self.KEPT:
                del self._parts[next(iter(self._parts))]
            rows, columns = entry.shape
            parts = torch.empty(count, rows, columns // count, dtype=TORCH[entry.dtype])
            for start, stop in bands(rows, columns):
                band = self._file.read_rows(entry, start, stop)
                if layout is ExpertColumns.RANK_MAJOR:
                    parts[:, start:stop] = band.reshape(stop - start, -1, count).permute(2, 0, 1)
                else:
                    parts[:, start:stop] = band.reshape(stop - start, count, -1).permute(1, 0, 2)
            self._parts[entry.name] = parts
        return self._parts[entry.name]
