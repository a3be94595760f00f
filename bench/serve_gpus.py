"""Two GPUs, DeepSeek-V3's widths in FP8: the trained job's own server, data and expert parallelism, drafts.

`python bench/serve_gpus.py --scratch /dev/shm/serve --envs ENVS`: as serve_gpu.py, whose base it takes. One
`finetune run` prepares, trains, merges to FP8, verifies and serves on the first card; beside it servers of an
adapter merged by hand on one card, and on both with DP=2 and expert parallelism. `finetune chat` and
`finetune bench` ask. With one card what needs two is left out. TP=2: serve_gpus_tensor.py.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Thread
from typing import Any

import serve_gpu
import serve_gpu_base as base_model
import serve_gpu_manifests as manifests
from serve_gpu import BENCH, MTP
from serve_gpu_asked import Asked
from serve_gpu_memory import gpu_memories
from serve_gpu_processes import Place

# Chats at a time, how many in all, and tokens in and out of each.
LOADS = ((4, 32, (512, 128)), (64, 256, (512, 128)), (4, 12, (4096, 512)), (64, 128, (4096, 512)))
SHORT = LOADS[:2]
EXPERTS = "--enable-expert-parallel"
# Servers that start side by side would measure one another's memory: they are told their cache's.
BESIDE = ["--gpu-memory-utilization", "0.2", "--kv-cache-memory-bytes", str(2**30)]
ALONE = ["--gpu-memory-utilization", "0.72"]
NO_ESTIMATE = {"VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS": "0"}
MERGED = "by-hand/merged"


def merge_by_hand(place: Place, copies: Sequence[str] = ("data",)) -> None:
    """An adapter of random numbers, merged, for each storage that serves it."""
    from deepseek_v3 import write_adapter

    storage = place.storage("one")
    adapter = write_adapter(place.scratch / "by-hand", base_model.MODEL, manifests.small, experts=False)
    names = ["--base", storage / "models/base", "--adapter", adapter, "--out", storage / MERGED]
    merge = place.start("merge", [place.program("converter", "finetune-convert"), "merge", *names])
    code = merge.wait(150)
    place.keep("merge", {"exitCode": code, "said": place.log("merge").read_text()[-1500:]})
    for name in copies:
        (place.storage(name) / "by-hand").mkdir()
        subprocess.run(["cp", "-al", storage / MERGED, place.storage(name) / MERGED], check=True)


def server(
    place: Place, storage: str, cards: str, *arguments: str, **spec: Any
) -> AbstractContextManager[Asked]:
    """The operator's server of the merged folder."""
    file = manifests.serve_manifest(
        place.scratch, "full", uri=MERGED, file=storage, arguments=list(arguments), **spec
    )
    return place.served(storage, file, storage=storage, deployment="full", cards=cards)


def trained(place: Place) -> AbstractContextManager[Asked]:
    """`finetune run` of the job and of its server."""
    job = manifests.job_manifest(place.scratch)
    serve = manifests.serve_manifest(place.scratch, "tuned", job="full", arguments=[*ALONE, *MTP])
    return place.served("tuned", job, serve, storage="tuned", deployment="tuned", cards="0")


def untuned(place: Place, card: str) -> AbstractContextManager[Asked]:
    """The base with its multi-token layer as draft, without vLLM's estimate of graphs."""
    file = manifests.serve_manifest(
        place.scratch,
        "base",
        uri="models/base",
        arguments=["--gpu-memory-utilization", "0.55", *MTP],
        variables=NO_ESTIMATE,
    )
    return place.served("drafted", file, storage="drafted", deployment="base", cards=card)


def measure(
    place: Place, name: str, asked: Asked, model: str, seconds: float, loads: Sequence[Any] = LOADS
) -> None:
    """Wait for a server, ask it everything, and load it."""
    asked.wait(seconds)
    place.keep(f"{name} ready", asked.figures())
    if model:
        asked.chat()
        asked.answer(model)
    before = asked.metrics()
    load(place, name, asked, loads)
    place.keep(f"{name} drafts", {"before": before, "after": asked.metrics()})


def load(place: Place, name: str, asked: Asked, loads: Sequence[Any]) -> None:
    for many, requests, tokens in loads:
        figures = asked.bench(many, tokens, requests)
        place.keep(f"load {name} {many} {tokens[0]}/{tokens[1]}", figures)


def side_by_side(place: Place, two: bool) -> None:
    """One card, and both with data parallelism."""
    with server(place, "one", "1" if two else "0", *BESIDE) as one:
        if not two:
            place.attempt("one", lambda: measure(place, "one", one, "full", 260))
            return
        with server(place, "data", "", EXPERTS, *BESIDE, dataParallelSize=2) as data:
            place.attempt("data", lambda: measure(place, "data", data, "full", 260))
        place.attempt("one", lambda: measure(place, "one", one, "full", 60))


def ask_trained(place: Place, tuned: Asked) -> None:
    """The trained job's own model."""
    tuned.wait(260)
    question = json.loads(place.tokens.read_text())["question"]
    place.keep("finetune chat", tuned.talk(question))
    measure(place, "tuned", tuned, "tuned", 1)


def copy_to_disk(place: Place) -> None:
    """The two largest files, for the load formats."""
    folder = place.disk
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted((place.storage("one") / MERGED).glob("*.safetensors"), key=lambda f: f.stat().st_size)
    place.memory.mkdir(exist_ok=True)
    for file in files[-2:]:
        subprocess.run(["cp", file, folder], check=True)
        (place.memory / file.name).hardlink_to(file)
    subprocess.run(["sync"], check=True)


def load_formats(place: Place, card: str) -> None:
    """From the disk, and the same files from memory."""
    command = [sys.executable, BENCH / "serve_gpu_formats.py", place.disk, place.memory]
    process = place.start("formats", command, CUDA_VISIBLE_DEVICES=card)
    try:
        process.wait(min(150, place.left()))
    except subprocess.TimeoutExpired:
        process.kill()
    told = place.log("formats").read_text()
    place.keep("load formats", re.findall(r"^.*(?:seconds|failed).*$", told, re.M) or told[-1500:])


ANSWERS = [
    ("one", "full", "merged"),
    ("data", "full", "merged"),
    ("tuned", "tuned", "tuned"),
    ("drafted", "base", "base"),
]


def reference(place: Place, answers: Sequence[tuple[str, str, str]], *more: object) -> None:
    """What was served, against transformers in float32 on the dequantised weights. more: its arguments."""
    one = place.storage("one")
    options: list[object] = ["--base", one / "models/base", "--merged", one / MERGED]
    options += ["--tokens", place.tokens, *more]
    tuned = next(place.storage("tuned").glob("runs/default/full/*/merged/config.json"), None)
    options += ["--tuned", tuned.parent] if tuned else []
    command = [sys.executable, BENCH / "serve_gpu_reference.py", *options, *place.answered(answers)]
    place.compared("reference", command, place.scratch / "reference.json", 120)


def main() -> int:
    place = Place(serve_gpu._parse_arguments())
    two = len(gpu_memories()) > 1
    place.prewarm()
    place.attempt("base", lambda: serve_gpu.write_base(place, ("one", "drafted")))
    with trained(place) as tuned:
        place.attempt("by hand", lambda: merge_by_hand(place))
        copy = Thread(target=place.attempt, args=("copy to disk", lambda: copy_to_disk(place)))
        copy.start()
        side_by_side(place, two)
        if two:
            with untuned(place, "1") as drafted:
                place.attempt("tuned", lambda: ask_trained(place, tuned))
                place.attempt("drafted", lambda: measure(place, "drafted", drafted, "base", 150))
        else:
            place.attempt("tuned", lambda: ask_trained(place, tuned))
        place.attempt("job", lambda: tell_job(place))
    serve_gpu.wait_until(place, 20, lambda: gpu_memories()[0] < 25_000)
    copy.join()
    formats = Thread(target=place.attempt, args=("formats", lambda: load_formats(place, "1" if two else "0")))
    if two:
        formats.start()
    place.attempt("reference", lambda: reference(place, ANSWERS))
    if not two:
        formats.start()
    formats.join()
    return 0


def tell_job(place: Place) -> None:
    """When each file of the run was there, and the losses."""
    file = next(place.storage("tuned").glob("runs/default/full/*/metrics.jsonl"), None)
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file else []
    run = place.storage("tuned") / "runs/default/full"
    files: list[Path] = [f for f in run.glob("*/**/*.json*") if f.is_file()]
    place.keep(
        "job",
        {
            "losses": [line["loss"] for line in lines if "loss" in line],
            "files": {str(f.relative_to(run)): f.stat().st_mtime for f in files},
            "said": place.log("tuned").read_text()[-4000:],
        },
    )


if __name__ == "__main__":
    sys.exit(main())
