"""Two GPUs with tensor parallelism, with expert parallelism and without, beside `vllm serve`.

`python bench/serve_gpus_tensor.py --scratch /dev/shm/serve --envs ENVS`: as serve_gpus.py, whose adapter
merged by hand it takes. The first server starts alone, so that vLLM measures its memory and no other's; then
come the one without expert parallelism, both of `vllm serve`, and adapters of single modules. All up, they
are loaded one after the other. Beside cards of less than 100 GB there is `vllm serve` with experts alone, and
adapters come last.
"""

import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from threading import Thread

import serve_gpu
import serve_gpu_base as base_model
import serve_gpu_manifests as manifests
from serve_gpu_asked import Asked
from serve_gpu_memory import gpu_memories
from serve_gpu_processes import Place
from serve_gpus import (
    BESIDE,
    EXPERTS,
    LOADS,
    MERGED,
    SHORT,
    copy_to_disk,
    load,
    load_formats,
    merge_by_hand,
    reference,
    server,
)

ALONE = ["--gpu-memory-utilization", "0.4"]
PLAIN = ["--tensor-parallel-size", "2", "--max-model-len", str(manifests.LENGTH), *BESIDE]
ADAPTERS = {"o": "o_proj", "experts": "experts"}
ANSWERS = [
    ("tensor", "full", "merged"),
    ("whole", "full", "merged"),
    ("adapted", "adapted", "base"),
    *(("adapted", name, module) for name, module in ADAPTERS.items()),
]


def write_adapters(place: Place) -> None:
    """Of the adapter that was merged, and of one with experts, single modules."""
    from deepseek_v3 import write_adapter

    whole = write_adapter(place.scratch / "with-experts", base_model.MODEL, manifests.small, experts=True)
    for name, module in ADAPTERS.items():
        source = whole if module == "experts" else place.scratch / "by-hand"
        manifests.write_part(source, _adapters(place) / name, module)


def _adapters(place: Place) -> Path:
    return place.storage("adapted") / "adapters"


def adapted(place: Place) -> AbstractContextManager[Asked]:
    """The base, and the adapters beside it."""
    uris = {name: Path("adapters") / name for name in ADAPTERS}
    words = ["--enforce-eager", EXPERTS, *BESIDE]
    file = manifests.adapters_manifest(place.scratch, uris, words, tensorParallelSize=2)
    return place.served("adapted", file, storage="adapted", deployment="adapted")


def ask_adapted(place: Place, asked: Asked) -> None:
    asked.wait(200)
    place.keep("adapted ready", asked.figures())
    for name in ("adapted", *ADAPTERS):
        asked.answer(name)
    asked.stop()


def alone(place: Place, tensor: Asked) -> None:
    """Until vLLM has measured the memory of the first server."""

    def measured() -> bool:
        log = place.storage("tensor") / "logs/default"
        there = any(b"GPU KV cache size" in file.read_bytes() for file in log.glob("full-*-0.log"))
        return there or tensor.has_ended

    serve_gpu.wait_until(place, 240, measured)


def beside(place: Place, large: bool) -> dict[str, AbstractContextManager[Asked]]:
    """The servers that start then."""
    servers = {
        "plain": place.plain("plain", place.storage("tensor") / MERGED, [*PLAIN, EXPERTS]),
        "whole": server(place, "whole", "", *BESIDE, tensorParallelSize=2),
    }
    if large:
        servers["plain whole"] = place.plain("plain-whole", place.storage("one") / MERGED, PLAIN)
        servers["adapted"] = adapted(place)
    return servers


def ask(place: Place, name: str, asked: Asked) -> None:
    asked.wait(200)
    place.keep(f"{name} ready", asked.figures())
    asked.chat()
    if not name.startswith("plain"):
        asked.answer("full")


def ask_all(place: Place, servers: dict[str, Asked]) -> None:
    """Each alone what it answers, then each under load, then the first two again."""
    for name, asked in servers.items():
        step = ask_adapted if name == "adapted" else lambda p, a, name=name: ask(p, name, a)
        place.attempt(name, lambda step=step, asked=asked: step(place, asked))
    loaded = {name: asked for name, asked in servers.items() if name != "adapted" and asked.is_ready()}
    for name, asked in loaded.items():
        place.attempt(f"load {name}", lambda n=name, a=asked: load(place, n, a, LOADS))
    for name in ("tensor", "plain"):
        if name in loaded:
            place.attempt(f"load {name} again", lambda n=name: load(place, f"{n} again", loaded[n], SHORT))


def stop_all(servers: dict[str, Asked]) -> None:
    threads = [Thread(target=asked.stop) for asked in servers.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    place = Place(serve_gpu._parse_arguments())
    large = min(gpu_memories("total")) > 100_000
    place.prewarm()
    place.attempt("base", lambda: serve_gpu.write_base(place, ("one", "adapted")))
    place.attempt("by hand", lambda: merge_by_hand(place, ("tensor", "whole")))
    with ExitStack() as everything:
        tensor = everything.enter_context(server(place, "tensor", "", EXPERTS, *ALONE, tensorParallelSize=2))
        place.attempt("adapters", lambda: write_adapters(place))
        place.attempt("copy to disk", lambda: copy_to_disk(place))
        alone(place, tensor)
        servers = {name: everything.enter_context(each) for name, each in beside(place, large).items()}
        servers = {"tensor": tensor, **servers}
        ask_all(place, servers)
        stop_all(servers)
    formats = Thread(target=place.attempt, args=("formats", lambda: load_formats(place, "1")))
    formats.start()
    if not large:
        with adapted(place) as asked:
            place.attempt("adapted", lambda: ask_adapted(place, asked))
    options = ("--adapter", place.scratch / "by-hand", "--experts", _adapters(place) / "experts")
    place.attempt("reference", lambda: reference(place, ANSWERS, *options))
    formats.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
