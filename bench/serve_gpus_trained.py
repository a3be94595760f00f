"""What stands beside the loads of `serve_gpus_compared.py`: a job and its trainer's answers, and adapters."""

import json
import urllib.request
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import serve_gpu_base as base_model
import serve_gpu_manifests as manifests
from serve_gpu import BENCH
from serve_gpu_ask import Server
from serve_gpu_asked import Asked
from serve_gpu_memory import gpu_memories
from serve_gpu_processes import Place

ROOM = ["--gpu-memory-utilization", "0.2", "--kv-cache-memory-bytes", str(2 * 2**30)]
SMALL = ["--enforce-eager", *ROOM]
CARDS = len(gpu_memories()) or 1
# A job's model is known, before prepare by its flavor's bfloat16: more than a fifth of the card.
CARD = "180G"
TUNED_SECONDS = 330
TENSOR = ["--tensor-parallel-size", str(CARDS), "--max-model-len", str(manifests.LENGTH)]


def questions() -> list[str]:
    """Each another one."""
    return list(dict.fromkeys(chat[0]["content"] for chat in base_model.chats()))[:8]


def tune(place: Place) -> Asked:
    """One `finetune run` of a job whose trainer answers too, and of the server of its merged model."""
    samples = {"prompts": questions(), "maxTokens": 32}
    fields = {"export": {"verify": False}, "model": {"uri": "models/base", "verify": False}}
    job = manifests.job_manifest(place.scratch, {"samples": samples}, **fields)
    server = manifests.serve_manifest(place.scratch, "tuned", job="full", arguments=SMALL, gpuMemory=CARD)
    process = place.finetune("tuned", job, server, storage="tuned", cards="0")
    return place.deployed("tuned", process, "tuned", "tuned")


def ask_tuned(place: Place, asked: Asked) -> None:
    """The job's model; then both end."""
    try:
        asked.wait(TUNED_SECONDS)
        place.keep("tuned ready", asked.figures())
        asked.answer("tuned")
        compare_with_trainer(place, "tuned", asked, manifests.STEPS)
    finally:
        place.keep(
            "job", {"losses": losses(place, "tuned", "full"), "said": place.log("tuned").read_text()[-2500:]}
        )
        asked.stop()


def trained(place: Place) -> Path | None:
    """The job's folder, with its adapter and its merged model; None before there is an adapter."""
    file = "runs/default/full/*/adapter/adapter_model.safetensors"
    return next((found.parents[1] for found in place.storage("tuned").glob(file)), None)


def losses(place: Place, storage: str, job: str) -> dict[str, Any]:
    """A hundred of a job's, and when each adapter was written."""
    kept = [(line["step"], line["loss"]) for line in metrics(place, storage, job) if "loss" in line]
    files = place.storage(storage).glob(f"runs/default/{job}/**/adapter_model.safetensors")
    written = {str(file.parent): file.stat().st_mtime for file in files}
    return {"losses": kept[:: max(1, len(kept) // 100)], "last": kept[-1:], "written": written}


def compare_with_trainers_model(place: Place, answers: Sequence[tuple[str, str, str]]) -> None:
    """Served answers, and the trainer's own model at the job's last checkpoint: of the same texts."""
    storage = place.storage("tuned")
    run = next(storage.glob(".engine/configmaps/default/*/run.json"))
    command = [place.program("trainer", "python"), BENCH / "serve_gpu_trainer.py", "--run", run]
    command += ["--root", storage, "--tokens", place.tokens, *place.answered(answers)]
    place.compared("trainer", command, place.scratch / "trainer.json", 180)


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
    lines = metrics(place, "tuned", "full")
    found = [line["samples"] for line in lines if line.get("step") == step and "samples" in line]
    return [sample["text"] for sample in found[-1]]


def metrics(place: Place, storage: str, job: str) -> list[dict[str, Any]]:
    """What a job's trainer wrote, a line each; none before it did."""
    files = place.storage(storage).glob(f"runs/default/{job}/*/metrics.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _same_beginning(mine: str, theirs: str) -> int:
    """Letters."""
    pairs = enumerate(zip(mine, theirs, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(mine), len(theirs)))


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
