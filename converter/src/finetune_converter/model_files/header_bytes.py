"""The header of a safetensors file that is about to be written: all sizes are known before the data."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from finetune_converter.model_files.dtypes import bytes_of


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """Name, dtype and shape of a tensor to write."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        size = bytes_of(self.dtype, self.shape)
        if size is None:
            raise ValueError(f"{self.name}: {self.dtype} {self.shape} does not end on a byte")
        return size


def encode_header(tensors: Iterable[TensorSpec], metadata: dict[str, str]) -> bytes:
    """Length, JSON and padding to 8 bytes, as the safetensors library has it; data follows in this order."""
    content: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    position = 0
    for tensor in tensors:
        end = position + tensor.nbytes
        content[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
