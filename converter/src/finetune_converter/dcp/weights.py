"""The weights of a checkpoint by their names in Hugging Face's format, in fp32, some rows at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import torch

from finetune_converter.arithmetic.bands import BAND_ELEMENTS
from finetune_converter.dcp.folder import DcpFolder, rows_of_band
from finetune_converter.dcp.metadata import StoredTensor
from finetune_converter.dcp.stored import stored_tensors
from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.dequantized import DequantizedTensor
from finetune_converter.model_files.dtypes import FLOAT8
from finetune_converter.model_files.model_folder import ModelFolder
from finetune_converter.model_files.quantization import SCALE, block_format

_REMEDY = "Give the base that this checkpoint was trained on"


class Weights(Protocol):
    """What an export reads."""

    path: Path

    def __contains__(self, name: object) -> bool: ...

    def bands(self, name: str) -> Iterator[torch.Tensor]:
        """fp32 bands of a tensor. Raises Failure(CheckpointInvalid) for another shape than the base's."""
        ...


class DcpWeights:
    """Raises Failure(CheckpointInvalid) for a checkpoint that holds more than the base."""

    def __init__(self, source: DcpFolder, base: ModelFolder) -> None:
        self.path, self._source, self._base = source.path, source, base
        self._stored = stored_tensors(source, base)

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def bands(self, name: str) -> Iterator[torch.Tensor]:
        tensor, expert = self._stored[name]
        shape = tensor.shape if expert is None else tensor.shape[1:]
        _check_shape(self.path, tensor.name, shape, self._base, name)
        if expert is None:
            return rows(self._source, tensor)
        return iter((self._source.read(tensor, expert, expert + 1)[0],))


class HuggingFaceWeights:
    """Of a step that torchtitan wrote with checkpoint.last_save_in_hf."""

    def __init__(self, step: ModelFolder, base: ModelFolder) -> None:
        self.path, self._step, self._base = step.path, step, base
        for name in step.tensors:
            if name not in base.tensors:
                raise Failure(
                    f"{step.path}: tensor {name!r}: the base has none: the checkpoint holds more than it",
                    Reason.CHECKPOINT_INVALID,
                    _REMEDY,
                )

    def __contains__(self, name: object) -> bool:
        return name in self._step.tensors

    def bands(self, name: str) -> Iterator[torch.Tensor]:
        _check_shape(self.path, name, self._step.tensors[name].entry.shape, self._base, name)
        return iter(dequantized(self._step, name))


def dequantized(folder: ModelFolder, name: str) -> DequantizedTensor:
    """A tensor of a model folder, in its own FP8 where it is that."""
    located = folder.tensors[name]
    scales = folder.tensors.get(name + SCALE) if located.entry.dtype == FLOAT8 else None
    return DequantizedTensor(folder, located, scales, block_format(folder.config))


def rows(source: DcpFolder, tensor: StoredTensor) -> Iterator[torch.Tensor]:
    """fp32 bands of a whole tensor of a DCP folder."""
    step = rows_of_band(tensor, BAND_ELEMENTS)
    for start in range(0, tensor.shape[0], step):
        yield source.read(tensor, start, min(start + step, tensor.shape[0]))


def _check_shape(path: Path, key: str, shape: tuple[int, ...], base: ModelFolder, name: str) -> None:
    expected = base.tensors[name].entry.shape
    if shape != expected:
        raise Failure(
            f"{path}: tensor {key!r} is {list(shape)}, the base's {name!r} {list(expected)}",
            Reason.CHECKPOINT_INVALID,
            _REMEDY,
        )
