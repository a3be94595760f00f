"""A deeper `deepseek_aghilora`, and a base of it in FP8, written fast: one random layer under every name.

`python bench/several_gpus_deep.py FOLDER LIKE FLAVOR LAYERS`: LIKE is a base of the flavour.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch

from finetune_trainer.base.float8 import SCALE_SUFFIX
from finetune_trainer.model.base_loader import frozen_tensors
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import FLAVORS, build_model_config
from finetune_trainer.model.frozen.settings import FrozenSettings
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.names import CheckpointNames

DTYPES = {torch.float8_e4m3fn: "F8_E4M3", torch.bfloat16: "BF16", torch.float32: "F32"}
COPYING_THREADS = 8

Tensors = dict[str, tuple[torch.Size, torch.dtype]]


def register(flavor: str, **shape: int) -> None:
    """Give `flavor` another shape; a deeper one has one dense layer, and experts in the others."""
    flat = FLAVORS[flavor]
    FLAVORS[flavor] = replace(flat, shape=replace(flat.shape, **shape))


def main(folder: Path, like: Path, flavor: str, layers: int) -> None:
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True)
    torch.manual_seed(0)
    register(flavor, num_hidden_layers=layers)
    files = _files(flavor)
    for file in ("ends", "layer-0", "layer-1"):
        _write(part / f"{file}.safetensors", files[file])
    copies = [f"layer-{layer}" for layer in range(2, layers)]
    with ThreadPoolExecutor(COPYING_THREADS) as threads:
        list(threads.map(lambda file: _copy(part, file, files[file]), copies))
    weight_map = {name: f"{file}.safetensors" for file, tensors in files.items() for name in tensors}
    index = {"metadata": {}, "weight_map": weight_map}
    (part / "model.safetensors.index.json").write_text(json.dumps(index))
    config = json.loads((like / "config.json").read_text())
    (part / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(like / name, part / name)
    part.rename(folder)


def _files(flavor: str) -> dict[str, Tensors]:
    """The checkpoint's tensors: a file a layer, and one for what is before and after them."""
    config = build_model_config(flavor, device="cuda")
    converter = LoRAConverter.Config(
        lora=LoRASettings(rank=16, alpha=32.0),
        targets=("attention",),
        base_dtype="bfloat16",
        frozen=FrozenSettings(dtype="float8"),
    )
    config = converter.build().convert(config)
    names = CheckpointNames.of(config)
    with torch.device("meta"):
        model = config.build()
    files: dict[str, Tensors] = {}
    for name, tensor in frozen_tensors(model):
        suffix = SCALE_SUFFIX if name.endswith(SCALE_SUFFIX) else ""
        file = f"layer-{name.split('.')[1]}" if name.startswith("layers.") else "ends"
        for hf_name, shape in _parts(name.removesuffix(SCALE_SUFFIX), tensor, names):
            files.setdefault(file, {})[hf_name + suffix] = (shape, tensor.dtype)
    return files


def _parts(name: str, tensor: torch.Tensor, names: CheckpointNames) -> Iterator[tuple[str, torch.Size]]:
    hf_names = names.tensors(name, num_experts=tensor.shape[0])
    shape = tensor.shape if len(hf_names) == 1 else tensor.shape[1:]
    yield from ((hf_name, shape) for hf_name in hf_names)


def _header(tensors: Tensors) -> bytes:
    """As safetensors has it."""
    entries, offset = {}, 0
    for name, (shape, dtype) in tensors.items():
        size = shape.numel() * dtype.itemsize
        entries[name] = {
            "dtype": DTYPES[dtype],
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(entries).encode()
    return len(padded := text + b" " * (-len(text) % 8)).to_bytes(8, "little") + padded


def _write(file: Path, tensors: Tensors) -> None:
    with file.open("wb") as target:
        target.write(_header(tensors))
        for name, (shape, dtype) in tensors.items():
            target.write(memoryview(_random(name, shape, dtype).view(torch.uint8).numpy()))


def _copy(folder: Path, file: str, tensors: Tensors) -> None:
    """The bytes of layer 1 behind a header of its own."""
    with (
        (folder / "layer-1.safetensors").open("rb") as source,
        (folder / f"{file}.safetensors").open("wb") as target,
    ):
        position = 8 + int.from_bytes(source.read(8), "little")
        target.write(_header(tensors))
        target.flush()
        while sent := os.sendfile(target.fileno(), source.fileno(), position, 2**30):
            position += sent


def _random(name: str, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """Weights, once multiplied by their blocks' scales, that keep the size of what passes through them."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if "bias" in name:
        made = torch.zeros(shape)
    elif "norm" in name:
        made = torch.ones(shape)
    elif name.endswith(SCALE_SUFFIX):
        made = torch.full(shape, (shape[-1] * 128) ** -0.5)
    elif dtype == torch.float8_e4m3fn or "embed_tokens" in name:
        made = torch.randn(shape, device=device)
    else:
        made = torch.randn(shape, device=device) * shape[-1] ** -0.5
    return made.to(dtype).flatten().cpu()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
