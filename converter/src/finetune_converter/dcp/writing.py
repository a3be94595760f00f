"""A safetensors file of fp32 bands that are read as it is written."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch

from finetune_converter.arithmetic.finite import all_finite
from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.hashed_writer import HashedWriter
from finetune_converter.model_files.header_bytes import TensorSpec, encode_header
from finetune_converter.model_files.torch_dtypes import TORCH, as_bytes


def write_tensors(
    path: Path, specs: Iterable[TensorSpec], read: Callable[[str], Iterator[torch.Tensor]]
) -> None:
    """`read` yields a tensor's bands. Raises Failure(CheckpointInvalid) where one is not finite."""
    specs = [*specs]
    writer = HashedWriter(path)
    try:
        writer.write(encode_header(specs, {"format": "pt"}))
        for spec in specs:
            for band in read(spec.name):
                values = band.to(TORCH[spec.dtype])
                if not all_finite(values):
                    raise Failure(
                        f"tensor {spec.name!r}: it has values that are not finite",
                        Reason.CHECKPOINT_INVALID,
                        "Give an earlier step",
                    )
                writer.write(as_bytes(values))
        writer.finish()
    finally:
        writer.close()
