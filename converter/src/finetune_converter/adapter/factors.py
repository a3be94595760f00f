"""The matrices of an update, read from the adapter's file."""

import threading

import torch

from finetune_converter.adapter.updates import Factor, LowRank
from finetune_converter.arithmetic.bands import bands
from finetune_converter.arithmetic.update import LowRankTensors
from finetune_converter.model_files.header import TensorEntry
from finetune_converter.model_files.tensor_file import TensorFile
from finetune_converter.model_files.torch_dtypes import TORCH


def read_low_rank(update: LowRank, file: TensorFile) -> LowRankTensors:
    """Both factors in fp32, as they multiply."""
    a, b = _read_factor(update.a, file), _read_factor(update.b, file)
    if update.transposed:
        a, b = b.T.contiguous(), a.T.contiguous()
    return LowRankTensors(a=a, b=b, scale=update.scale)


def _read_factor(factor: Factor, file: TensorFile) -> torch.Tensor:
    """fp32 of the factor's shape."""
    start, stop = factor.start, factor.stop
    if factor.step == 1:
        return file.read_rows(factor.entry, start, stop).float()
    return _split_columns(file, factor.entry, factor.step)[factor.first, start:stop].float()


class _Recent(threading.local):
    """The tensors that this thread took apart last: experts follow each other, two fused tensors a layer."""

    KEPT = 2

    def __init__(self) -> None:
        self.tensors: dict[tuple[TensorFile, str], torch.Tensor] = {}


_recent = _Recent()


def _split_columns(file: TensorFile, entry: TensorEntry, step: int) -> torch.Tensor:
    """[step, rows, columns / step]: column first + i * step of the tensor is column i of part `first`.

    One expert's columns are spread over the whole tensor, so it is read once for all experts.
    """
    key, kept = (file, entry.name), _recent.tensors
    if key not in kept:
        while len(kept) >= _Recent.KEPT:
            del kept[next(iter(kept))]
        rows, columns = entry.shape
        parts = torch.empty(step, rows, columns // step, dtype=TORCH[entry.dtype])
        for start, stop in bands(rows, columns):
            parts[:, start:stop] = (
                file.read_rows(entry, start, stop).reshape(stop - start, -1, step).permute(2, 0, 1)
            )
        kept[key] = parts
    return kept[key]
