"""A model of DeepSeek-V3's shape and of random weights, as prepare leaves one, and adapters of it."""

import argparse
import hashlib
import json
import math
from pathlib import Path
from typing import BinaryIO

import torch

from deepseek_v3 import DeepSeekV3, write_adapter, write_base
from finetune_converter.model_files.header_bytes import TensorSpec
from finetune_converter.model_files.torch_dtypes import TORCH

SCALE = 1 / 4000
POOL_ELEMENTS = 32768 * 2048 + 4096


def narrow(layers: int, *, float8: bool) -> DeepSeekV3:
    """An MoE layer has 1.1 GB in bfloat16."""
    return DeepSeekV3(
        layers=layers,
        dense_layers=1,
        mtp=False,
        float8=float8,
        hidden=2048,
        heads=16,
        query_rank=768,
        experts=64,
        inner=1408,
        dense=8192,
        vocabulary=32768,
    )


class RandomFill:
    """Tensors cut from one pool of random numbers: drawing 10 GB would take longer than merging them."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        pool = torch.randn(POOL_ELEMENTS) * 0.02
        self._pools = {
            "F32": pool,
            "BF16": pool.bfloat16(),
            "F8_E4M3": (pool / SCALE).clamp_(-448, 448).to(torch.float8_e4m3fn),
        }

    def __call__(self, file: BinaryIO, spec: TensorSpec) -> None:
        tensor = self._tensor(spec).contiguous().view(torch.uint8)
        file.write(memoryview(tensor.numpy()))  # type: ignore[arg-type]

    def _tensor(self, spec: TensorSpec) -> torch.Tensor:
        if spec.name.endswith("_scale_inv"):
            return torch.full((math.prod(spec.shape),), SCALE)
        if "norm" in spec.name or spec.name.endswith("bias"):
            return torch.ones(math.prod(spec.shape), dtype=TORCH[spec.dtype])
        start = int(torch.randint(4096, ()))
        return self._pools[spec.dtype][start : start + math.prod(spec.shape)]


def write_marker(base: Path) -> None:
    """What prepare writes once it has checked every file (contract/README.md)."""
    files = {}
    for path in sorted(base.iterdir()):
        with path.open("rb") as file:
            digest, status = hashlib.file_digest(file, "sha256").hexdigest(), path.stat()
        files[path.name] = {"size": status.st_size, "sha256": digest, "modified": status.st_mtime_ns}
    (base / ".finetune-complete.json").write_text(json.dumps({"files": files}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--float8", action="store_true")
    options = parser.parse_args()
    model, fill = narrow(options.layers, float8=options.float8), RandomFill()
    write_marker(write_base(options.folder / "base", model, fill))
    write_adapter(options.folder / "attention", model, fill, experts=False)
    write_adapter(options.folder / "everything", model, fill, experts=True)


if __name__ == "__main__":
    main()
