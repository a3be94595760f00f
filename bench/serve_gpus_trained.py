"""What stands beside the loads of `serve_gpus_compared.py`: a job and its trainer's answers, and adapters."""

import json
import subprocess
import urllib.request
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import serve_gpu_base as base_model
import serve_gpu_manifests as manifests
from serve_gpu_ask import Server
from serve_gpu_memory import gpu_memories
from serve_gpu_processes import Asked, Place

ROOM = ["--gpu-memory-utilization", "0.2", "--kv-cache-memory-bytes", str(2 * 2**30)]
SMALL = ["--enforce-eager", *ROOM]
CARDS = len(gpu_memories()) or 1
TENSOR = ["--tensor-parallel-size", str(CARDS), "--max-model-len", str(manifests.LENGTH)]


def questions() -> list[str]:
    """Each another one."""
    return list(dict.fromkeys(chat[0]["content"] for chat in base_model.chats()))[:8]


def train(place: Place) -> None:
    """The job up to its adapter, with what its trainer answers; then the adapter merged."""
    samples = {"prompts": questions(), "maxTokens": 32}
    fields = {"export": {"adapterOnly": True}, "model": {"uri": "models/base", "verify": False}}
    manifest = manifests.job_manifest(place.scratch, {"samples": samples}, **fields)
    job = place.finetune("job", manifest, storage="tuned", cards="0")
    try:
        job.wait(180)
    except subprocess.TimeoutExpired:
        Asked.stop_process(job)
    place.keep("job", {"exitCode": job.poll(), "said": place.log("job").read_text()[-2500:]})
    storage = place.storage("tuned")
    names = ["--base", storage / "models/base", "--adapter", trained(place), "--out", storage / "merged"]
    merge = place.start("merge", [place.program("converter", "finetune-convert"), "merge", *names])
    place.keep("merge", {"exitCode": merge.wait(150), "said": place.log("merge").read_text()[-1500:]})


def trained(place: Place) -> Path:
    """The adapter's folder."""
    file = "runs/default/full/*/adapter/adapter_model.safetensors"
    return next(place.storage("tuned").glob(file)).parent


def compare_with_trainer(place: Place, model: str, asked: Asked, step: int) -> None:
    """A server's greedy answers and the trainer's after a step, as text: how many, and how far, are alike."""
    server = Server(asked.url(), model)
    served = [server.chat(question)["answer"].strip() for question in questions()]
    pairs = list(zip(served, _samples(place, step), strict=True))
    place.keep(
        f"{model} and the trainer after step {step}",
        {
            "equal": sum(mine == theirs for mine, theirs in pairs),
            "of": len(pairs),
            "sameBeginning": [round(_same_beginning(*pair) / max(*map(len, pair), 1), 3) for pair in pairs],
            "texts": pairs,
        },
    )


def _samples(place: Place, step: int) -> list[str]:
    (file,) = place.storage("tuned").glob("runs/default/full/*/metrics.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    found = [line["samples"] for line in lines if line.get("step") == step and "samples" in line]
    return [sample["text"] for sample in found[-1]]


def _same_beginning(mine: str, theirs: str) -> int:
    """Letters."""
    pairs = enumerate(zip(mine, theirs, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(mine), len(theirs)))


def ask_tuned(place: Place) -> None:
    """The job's model."""
    file = manifests.serve_manifest(
        place.scratch, "tuned", uri="merged", arguments=SMALL, tensorParallelSize=CARDS
    )
    with place.served("tuned", file, storage="tuned", deployment="tuned") as asked:
        asked.wait(200)
        compare_with_trainer(place, "tuned", asked, manifests.STEPS)
        asked.answer("tuned")


def write_adapters(place: Place) -> None:
    """Of random adapters, single modules."""
    from deepseek_v3 import write_adapter

    attention = write_adapter(place.scratch / "by-hand", base_model.MODEL, manifests.small, experts=False)
    whole = write_adapter(place.scratch / "with-experts", base_model.MODEL, manifests.small, experts=True)
    parts = {"o": (attention, "o_proj"), "kv-b": (attention, "kv_b_proj"), "experts": (whole, "experts")}
    for name, (source, module) in parts.items():
        manifests.write_part(source, adapters(place) / name, module)


def adapters(place: Place) -> Path:
    return place.storage("adapted") / "adapters"


def operators_adapters(place: Place) -> AbstractContextManager[Asked]:
    """The operator's server of the base with adapters."""
    uris = {name: Path("adapters") / name for name in ("o", "experts")}
    fields = {"tensorParallelSize": CARDS, "expertParallel": True}
    file = manifests.adapters_manifest(place.scratch, uris, SMALL, **fields)
    return place.served("adapted", file, storage="adapted", deployment="adapted")


def plain_adapters(place: Place) -> AbstractContextManager[Asked]:
    """`vllm serve` with adapters, of which the operator refuses one."""
    modules = [f"{name}={adapters(place) / name}" for name in ("kv-b", "o")]
    words = [*TENSOR, *SMALL, "--enable-lora", "--max-lora-rank", "16", "--lora-modules", *modules]
    return place.plain("beside", place.storage("adapted") / "models/base", words)


def ask_adapted(place: Place, of_operator: AbstractContextManager[Asked]) -> None:
    """Each adapter; then what the server tells that it has."""
    with of_operator as asked:
        asked.wait(300)
        _answer(asked, ("o", "experts"))
        with urllib.request.urlopen(f"{asked.url()}/adapters", timeout=30) as answer:
            place.keep("GET /adapters", json.load(answer))


def ask_plain_adapters(of_vllm: AbstractContextManager[Asked]) -> None:
    with of_vllm as asked:
        asked.wait(300)
        _answer(asked, ("kv-b", "o"))


def _answer(asked: Asked, names: Sequence[str]) -> None:
    for name in names:
        asked.answer(name)
