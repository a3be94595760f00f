"""The matrices of an update, read from the adapter's file."""

import torch

from finetune_converter.adapter.updates import Factor, LowRank, Replacement
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
        return LowRankTensors(a=a, b=b, scale=update.scale)

    def replacement(self, update: Replacement, start: int, stop: int) -> torch.Tensor:
        """fp32 rows [start, stop) of the tensor that the adapter brings."""
        return self._file.read_rows(update.entry, start, stop).float()

    def _read(self, factor: Factor) -> torch.Tensor:
        """fp32 of the factor's shape."""
        if factor.step == 1:
            return self._file.read_rows(factor.entry, factor.start, factor.stop).float()
        return self._split_columns(factor.entry, factor.step)[
            factor.first, factor.start : factor.stop
        ].float()

    def _split_columns(self, entry: TensorEntry, step: int) -> torch.Tensor:
        """[step, rows, columns / step]: column first + i * step of the tensor is column i of part `first`.

        One expert's columns are spread over the whole tensor, so it is read once for all experts.
        """
        if entry.name not in self._parts:
            while len(self._parts) >= self.KEPT:
                del self._parts[next(iter(self._parts))]
            rows, columns = entry.shape
            parts = torch.empty(step, rows, columns // step, dtype=TORCH[entry.dtype])
            for start, stop in bands(rows, columns):
                band = self._file.read_rows(entry, start, stop)
                parts[:, start:stop] = band.reshape(stop - start, -1, step).permute(2, 0, 1)
            self._parts[entry.name] = parts
        return self._parts[entry.name]
