"""One GPU, the whole way at DeepSeek-V3's widths: train, merge to FP8, verify, serve by `finetune run`, ask.

`python bench/serve_gpu.py --scratch /dev/shm/serve --envs ENVS` needs a GPU of 100 GB, 70 GB there, and an
environment a stage in ENVS (as `make envs` makes, with `server-cpu` of vLLM for GPUs). Two layers, one with
experts, and the MTP layer; random, so that figures of speed and memory count, and no answer is wise.

Servers whose speed is not measured start side by side. Each step's result is written before the next begins.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import serve_gpu_base as base_model
import serve_gpu_manifests as manifests
from serve_gpu_asked import Asked
from serve_gpu_memory import gpu_memory
from serve_gpu_processes import Place

BENCH = Path(__file__).parent
PROMPTS = 16
LOAD = (4, 64)
# Two servers of 17 GiB of weights and more, 15 GiB of activations and the estimate of their graphs.
SHARED = ["--gpu-memory-utilization", "0.42"]
SMALL = ["--enforce-eager", "--gpu-memory-utilization", "0.15", "--kv-cache-memory-bytes", str(2 * 2**30)]
MTP = ["--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}']


def write_base(place: Place, copies: Sequence[str] = ("hand", "beside", "drafted")) -> None:
    """The base, the demo's data and what is asked, as numbers. copies: more storages, with links to it."""
    folder = place.storage("tuned") / "models/base"
    if not folder.exists():
        subprocess.run([sys.executable, BENCH / "serve_gpu_base.py", folder], check=True)
    place.tokens.write_text(json.dumps(_tokens(folder)))
    for name in ("tuned", *copies):
        data = place.storage(name) / "datasets"
        data.mkdir(exist_ok=True)
        shutil.copy(base_model.ROOT / "examples/data/faq.jsonl", data)
    for name in copies:
        copy = place.storage(name) / "models/base"
        copy.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-al", folder, copy], check=True)
    place.keep("base", {"bytes": sum(file.stat().st_size for file in folder.iterdir())})


def _tokens(folder: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    demo, chats = base_model.demo_tokenizer(), base_model.chats()

    def asked(text: str) -> str:
        return f"{demo.BOS}{demo.USER}{text}{demo.ASSISTANT}"

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    return {
        "question": chats[0][0]["content"],
        "prompts": [encode(asked(q["content"])) for q, _ in chats[:PROMPTS]],
        "chats": [encode(f"{asked(q['content'])}{a['content']}{demo.EOS}") for q, a in chats],
    }


def merge_by_hand(place: Place) -> None:
    """An adapter of random numbers, merged by `finetune-convert`, and others of it to be served unmerged."""
    from deepseek_v3 import write_adapter

    storage = place.storage("hand")
    adapter = write_adapter(storage / "by-hand/adapter", base_model.MODEL, manifests.small, experts=False)
    cli = [sys.executable, "-c", "from finetune_converter.cli import main; main()", "merge"]
    names = ["--base", storage / "models/base", "--adapter", adapter, "--out", storage / "by-hand/merged"]
    merge = place.start("merge", [*cli, *names])
    code = merge.wait(150)
    place.keep("merge", {"exitCode": code, "said": place.log("merge").read_text()[-1500:]})
    beside = place.storage("beside") / "adapters"
    beside.mkdir()
    subprocess.run(["cp", "-al", adapter, beside / "all"], check=True)
    for name, module in {"kv-b": "kv_b_proj", "o": "o_proj"}.items():
        manifests.write_part(adapter, beside / name, module)
    whole = write_adapter(place.scratch / "with-experts", base_model.MODEL, manifests.small, experts=True)
    manifests.write_part(whole, beside / "experts", "experts")


def tune(place: Place) -> "subprocess.Popen[bytes]":
    """`finetune run` of a job: prepare, train, merge, verify."""
    return place.finetune("job", manifests.job_manifest(place.scratch), storage="tuned")


def trained(place: Place) -> Path | None:
    return next(place.storage("tuned").glob("runs/default/full/*/adapter/adapter_model.safetensors"), None)


def wait_until(place: Place, seconds: float, until: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + min(seconds, place.left())
    while not until():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


def compare_with_plain(place: Place) -> None:
    """The operator's server and `vllm serve` of the same folder, both up, asked in turn."""
    merged = place.storage("hand") / "by-hand/merged"
    file = manifests.serve_manifest(place.scratch, "full", uri="by-hand/merged", arguments=SHARED)
    with place.served("operator", file, storage="hand", deployment="full") as operator:
        operator.wait(240)
        place.keep("operator ready", operator.figures())
        with place.plain("plain", merged, [*SHARED, "--max-model-len", str(manifests.LENGTH)]) as plain:
            operator.chat()
            operator.answer("full")
            plain.wait(180)
            place.keep("plain ready", plain.figures())
            for name, server in {"operator": operator, "plain": plain, "operator again": operator}.items():
                for many in LOAD:
                    place.keep(f"load {many} {name}", server.load(many))


def base_and_adapters(place: Place) -> None:
    """The base, and adapters of all of attention, of single modules, and of the experts beside it."""
    names = {name: Path("adapters") / name for name in ("all", "kv-b", "o")}
    file = manifests.adapters_manifest(place.scratch, names, SMALL)
    with place.served("adapters", file, storage="beside", deployment="adapted") as server:
        server.wait(240)
        for name in ("adapted", *names):
            server.answer(name)
        place.keep("adapters ready", server.figures())
        added = server.add_adapter("experts", place.storage("beside") / "adapters/experts")
        place.keep("experts' adapter at run time", added)
        server.answer("experts")
        place.keep("removed", server.remove_adapter("o"))


def drafted(place: Place, name: str, files: Sequence[Path], storage: str, deployment: str) -> None:
    """A server whose multi-token layer drafts: what of it is accepted."""
    with place.served(name, *files, storage=storage, deployment=deployment) as server:
        server.wait(240)
        server.chat()
        before = server.metrics()
        server.answer(deployment)
        place.keep(f"{name}: ready", server.figures())
        place.keep(f"{name}: drafts", {"before": before, "after": server.metrics()})


def side_by_side(place: Place) -> None:
    """Adapters, and the multi-token layer before and after tuning."""
    words = [*SMALL, *MTP]
    before = manifests.serve_manifest(place.scratch, "base", uri="models/base", arguments=words)
    # Of a job's model it is known how large it is: 0.15 would be refused.
    room = ["--gpu-memory-utilization", "0.5"]
    after = manifests.serve_manifest(place.scratch, "tuned", job="full", arguments=[*words, *room])
    job = manifests.job_manifest(place.scratch)
    steps: dict[str, Callable[[], None]] = {
        "adapters": lambda: base_and_adapters(place),
        "mtp-before": lambda: drafted(place, "mtp-before", [before], "drafted", "base"),
    }
    if trained(place):
        steps["mtp-tuned"] = lambda: drafted(place, "mtp-tuned", [job, after], "tuned", "tuned")
    threads = [Thread(target=place.attempt, args=(name, step)) for name, step in steps.items()]
    large = gpu_memory("total") > 100_000
    for thread in threads:
        thread.start()
        time.sleep(1)
        if not large:
            thread.join()
    for thread in threads:
        thread.join()


def mtp_under_load(place: Place) -> None:
    """The merged model with its multi-token layer as draft, with graphs, alone."""
    file = manifests.serve_manifest(place.scratch, "full", uri="by-hand/merged", arguments=MTP, file="mtp")
    with place.served("mtp-load", file, storage="hand", deployment="full") as server:
        server.wait(180)
        place.keep("mtp-load ready", server.figures())
        server.chat()
        before = server.metrics()
        for many in LOAD:
            place.keep(f"load {many} mtp", server.load(many))
        place.keep("mtp-load drafts", {"before": before, "after": server.metrics()})


ANSWERS = [
    ("operator", "full", "merged"),
    ("adapters", "adapted", "base"),
    ("adapters", "all", "all"),
    ("adapters", "kv-b", "kv_b_proj"),
    ("adapters", "o", "o_proj"),
    ("adapters", "experts", "experts"),
    ("mtp-before", "base", "base"),
    ("mtp-tuned", "tuned", "tuned"),
]
"""Whose answers, of which model's name, are compared with which weights."""


def reference(place: Place) -> None:
    hand = place.storage("hand")
    options: list[object] = ["--base", hand / "models/base", "--merged", hand / "by-hand/merged"]
    options += ["--adapter", hand / "by-hand/adapter", "--tokens", place.tokens]
    options += ["--experts", place.storage("beside") / "adapters/experts"]
    tuned = next(place.storage("tuned").glob("runs/default/full/*/merged/config.json"), None)
    options += ["--tuned", tuned.parent] if tuned else []
    command = [sys.executable, BENCH / "serve_gpu_reference.py", *options, *place.answered(ANSWERS)]
    place.compared("reference", command, place.scratch / "reference.json", 200)


def training(place: Place, job: "subprocess.Popen[bytes]", seconds: float) -> None:
    ended = wait_until(place, seconds, lambda: job.poll() is not None)
    file = next(place.storage("tuned").glob("runs/default/full/*/metrics.jsonl"), None)
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file else []
    losses = [line["loss"] for line in lines if "loss" in line]
    run = place.storage("tuned") / "runs/default/full"
    times = {str(f.relative_to(run)): f.stat().st_mtime for f in run.glob("*/*/*.json") if f.is_file()}
    said = place.log("job").read_text()[-2500:]
    place.keep(
        "job", {"exitCode": job.poll(), "ended": ended, "losses": losses, "files": times, "said": said}
    )


def main() -> int:
    place = Place(_parse_arguments())
    place.prewarm()
    place.attempt("base", lambda: write_base(place))
    job = tune(place)
    place.attempt("by hand", lambda: merge_by_hand(place))
    wait_until(place, 220, lambda: trained(place) is not None or job.poll() is not None)
    place.keep("trained", {"found": str(trained(place)), "jobEnded": job.poll(), "gpuMiB": gpu_memory()})
    place.attempt("compare with plain", lambda: compare_with_plain(place))
    place.attempt("training", lambda: training(place, job, 120))
    if job.poll() is None:
        Asked.stop_process(job)
    place.attempt("side by side", lambda: side_by_side(place))
    place.attempt("reference", lambda: reference(place))
    if place.left() > 130:
        place.attempt("mtp under load", lambda: mtp_under_load(place))
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm/serve"))
    parser.add_argument("--disk", type=Path, default=Path("/tmp/serve-disk"), help="for the load formats")
    parser.add_argument("--envs", type=Path, required=True, help="as FINETUNE_ENVS")
    parser.add_argument("--out", type=Path, default=BENCH / "results/serve-gpu", help="figures and logs")
    parser.add_argument("--seconds", type=float, default=3600, help="end by then")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
