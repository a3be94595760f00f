"""What prepare's comparison with transformers takes: two layers of 671B's widths measured, 61 by arithmetic.

`python bench/parity.py FOLDER` writes a base in FP8 there, sparse: of its routed experts only those that the
tokens take have values, 5 GB on disk. Called again it measures, and prints what bench/results has: seconds of
a processor, so that another load of the machine does not count, and the files come from the page cache.
"""

import json
import resource
import struct
import sys
import time
from pathlib import Path
from typing import Any

import torch

from finetune_trainer.base.float8 import quantize
from finetune_trainer.model.base_loader import frozen_tensors
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.prepare.parity import compare, compare_with_transformers, weights
from full_width_base import CONFIG
from report import write_report

FLAVOR = "deepseek_aghilora"
DENSE_LAYERS, EXPERT_LAYERS = 3, 58
BYTES = {"F8_E4M3": 1, "BF16": 2, "F32": 4}
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}


class SparseBase:
    """One safetensors file of the right length, its tensors filled one by one."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "model.safetensors"
        tensors, end = {}, 0
        for name, dtype, shape in _tensors():
            size = BYTES[dtype] * torch.Size(shape).numel()
            tensors[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
            end += size
        header = json.dumps(tensors).encode()
        self.file.write_bytes(struct.pack("<Q", len(header)) + header)
        with self.file.open("r+b") as stream:
            stream.truncate(8 + len(header) + end)
        self._tensors, self._start = tensors, 8 + len(header)
        (folder / "config.json").write_text(json.dumps(CONFIG | {"quantization_config": FP8}))

    def fill(self, name: str) -> None:
        entry = self._tensors[name]
        if entry["dtype"] == "F8_E4M3":
            values, scales = quantize(torch.randn(entry["shape"]) * entry["shape"][-1] ** -0.5)
            self._write(f"{name}_scale_inv", scales)
            self._write(name, values)
        elif entry["dtype"] == "BF16":
            scale = 1.0 if "embed_tokens" in name else entry["shape"][-1] ** -0.5
            ones = "norm" in name
            values = torch.ones(entry["shape"]) if ones else torch.randn(entry["shape"]) * scale
            self._write(name, values.bfloat16())

    def fill_all_but_experts(self) -> None:
        for name in self._tensors:
            if ".experts." not in name:
                self.fill(name)

    def _write(self, name: str, values: torch.Tensor) -> None:
        with self.file.open("r+b") as stream:
            stream.seek(self._start + self._tensors[name]["data_offsets"][0])
            stream.write(values.contiguous().view(torch.uint8).numpy().tobytes())


def _tensors() -> list[tuple[str, str, list[int]]]:
    config = build_model_config(FLAVOR, device="cpu")
    with torch.device("meta"):
        model = config.build()
    names, found = CheckpointNames.of(config), []
    for name, tensor in frozen_tensors(model):
        parts = names.tensors(name, num_experts=tensor.shape[0])
        shape = list(tensor.shape if len(parts) == 1 else tensor.shape[1:])
        for part in parts:
            if "bias" in part:
                found.append((part, "F32", shape))
            elif "_proj" in part:
                found.append((part, "F8_E4M3", shape))
                found.append((f"{part}_scale_inv", "F32", [-(-size // 128) for size in shape]))
            else:
                found.append((part, "BF16", shape))
    return found


def _taken_experts(folder: Path) -> set[str]:
    """The expert tensors that the tokens take: they depend on no expert of these two layers."""
    read, whole = set(), weights.read_whole
    weights.read_whole = lambda tensors, name: read.add(name) or whole(tensors, name)
    compare_with_transformers(FLAVOR, folder)
    weights.read_whole = whole
    return {name for name in read if ".experts." in name}


def _measured(folder: Path) -> dict[str, Any]:
    """Seconds and bytes of the start, of each layer, and of the head."""
    marks, checked = [], compare._checked

    def record(problem: str, differences: torch.Tensor, place: Path) -> float:
        marks.append(time.process_time())
        return checked(problem, differences, place)

    embedded = compare._embedded

    def start(tensors: Any) -> torch.Tensor:
        marks.append(time.process_time())
        return embedded(tensors)

    compare._checked, compare._embedded = record, start
    before = time.process_time()
    report = compare_with_transformers(FLAVOR, folder)
    compare._checked, compare._embedded = checked, embedded
    assert report is not None
    started, dense, experts, head = marks
    seconds = {
        "start": started - before,
        "a dense layer": dense - started,
        "a layer of experts": experts - dense,
        "head": head - experts,
    }
    whole = seconds["start"] + seconds["head"]
    whole += DENSE_LAYERS * seconds["a dense layer"] + EXPERT_LAYERS * seconds["a layer of experts"]
    return {
        "processor seconds": {name: round(value, 1) for name, value in seconds.items()},
        "gigabytes read of both layers and the head": round(report.bytes_read / 1e9, 2),
        "greatest difference": report.greatest_difference,
        "processor seconds of 671B, by arithmetic": round(whole),
    }


def _gigabytes_of_671b() -> dict[str, float]:
    """By the shapes: what is read once by each model, and the head and the embeddings."""
    attention = 7168 * 1536 + 1536 * 24576 + 7168 * 576 + 512 * 32768 + 16384 * 7168
    expert, dense = 3 * 7168 * 2048, 3 * 7168 * 18432
    router, head = 2 * 256 * 7168, 2 * 129280 * 7168
    taken = len(compare.POSITIONS) * 8 * expert
    one_model = 61 * attention + DENSE_LAYERS * dense + EXPERT_LAYERS * (expert + router + taken)
    return {
        "of different bytes": round((one_model + head) / 1e9, 1),
        "by both models": round((2 * one_model + head) / 1e9, 1),
    }


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    base = SparseBase(folder)
    base.fill_all_but_experts()
    for name in sorted(_taken_experts(folder)):
        base.fill(name)


def main(folder: Path) -> None:
    if not (folder / "config.json").exists():
        write(folder)
        print("written; call this again to measure")
        return
    figures = {
        "measured": _measured(folder),
        "gigabytes read of 671B, by arithmetic": _gigabytes_of_671b(),
        "resident memory with the files' pages, gigabytes": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 1
        ),
        "threads": torch.get_num_threads(),
    }
    write_report("parity", figures, packages=("torch", "torchtitan", "transformers"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
