"""How fast each of vLLM's load formats brings safetensors from a disk, or from memory, onto a GPU.

`python bench/serve_gpu_formats.py FOLDER...`: the page cache is dropped of them before each. By vLLM's
own iterators, each tensor copied to the card as a model's loading does.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import torch
from vllm.model_executor.model_loader import weight_utils

Format = Callable[[list[str]], Iterable[tuple[str, torch.Tensor]]]

FORMATS: dict[str, Format] = {
    "auto": lambda files: weight_utils.safetensors_weights_iterator(files, False),
    "auto, --safetensors-load-strategy prefetch": lambda files: weight_utils.safetensors_weights_iterator(
        files, False, "prefetch"
    ),
    "auto, enable_multithread_load, 8 threads": lambda files: (
        weight_utils.multi_thread_safetensors_weights_iterator(files, False, 8)
    ),
    "fastsafetensors": lambda files: weight_utils.fastsafetensors_weights_iterator(files, False),
    "instanttensor": lambda files: weight_utils.instanttensor_weights_iterator(files, False),
    "runai_streamer": lambda files: weight_utils.runai_safetensors_weights_iterator(files, False),
}


def read(format_: Format, files: list[str]) -> Iterator[int]:
    """Yield the bytes of each tensor once it is on the card."""
    for _, tensor in format_(files):
        on_card = tensor.to("cuda")
        yield on_card.nbytes
    torch.cuda.synchronize()


def drop_page_cache(files: list[str]) -> None:
    """What was read is read from the disk again. Files in memory stay."""
    for file in files:
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(format_: Format, files: list[str]) -> dict[str, object]:
    """The seconds of a load, or why there is none."""
    drop_page_cache(files)
    torch.cuda.empty_cache()
    started = time.perf_counter()
    try:
        size = sum(read(format_, files))
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"[:300]}
    seconds = time.perf_counter() - started
    return {
        "seconds": round(seconds, 2),
        "GB": round(size / 1e9, 2),
        "GBPerSecond": round(size / 1e9 / seconds, 2),
    }


def main(folders: list[Path]) -> None:
    torch.zeros(1, device="cuda")
    result: dict[str, dict[str, object]] = {}
    show = partial(print, flush=True)
    for folder in folders:
        files = sorted(str(file) for file in folder.glob("*.safetensors"))
        for name, format_ in FORMATS.items():
            result.setdefault(str(folder), {})[name] = measured = measure(format_, files)
            show(folder, name, measured)
    show(json.dumps(result))


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
