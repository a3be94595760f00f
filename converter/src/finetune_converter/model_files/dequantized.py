"""A stored tensor in fp32, whatever it is stored as, some rows at a time."""

from collections.abc import Iterator

import torch

from finetune_converter.arithmetic.bands import bands
from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.arithmetic.float8 import dequantize
from finetune_converter.model_files.model_folder import Located, ModelFolder
from finetune_converter.model_files.tensor_file import columns_of, rows_of


class DequantizedTensor:
    """fp32 rows of a tensor of a model folder: its values, times its block scales where it has any."""

    def __init__(
        self, folder: ModelFolder, source: Located, scales: Located | None, block: BlockFormat
    ) -> None:
        self._file, self._entry, self._block = folder.files[source.file], source.entry, block
        self._scales = folder.files[scales.file].read(scales.entry) if scales else None

    def ranges(self) -> Iterator[tuple[int, int]]:
        """[start, stop) of bands of rows that bound memory, each of whole blocks."""
        return bands(rows_of(self._entry.shape), columns_of(self._entry.shape), self._block.rows)

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """fp32 [stop - start, columns]; `start` is the first row of a block."""
        values = self._file.read_rows(self._entry, start, stop)
        if self._scales is None:
            return values.float()
        scales = self._scales[start // self._block.rows : -(-stop // self._block.rows)]
        return dequantize(values, scales, self._block)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return (self.rows(start, stop) for start, stop in self.ranges())
