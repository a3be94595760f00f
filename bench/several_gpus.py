"""Several GPUs of one host: speed, memory and losses of each way to divide them, a deep model, a killed run.

`python bench/several_gpus.py --scratch /dev/shm/full-width` needs two GPUs or more, and room there for 26 GB
and 11.5 GB more for each layer of experts that the GPUs hold in FP8. `--gpus 2 --one-card`: two ranks share
one GPU, over NCCL; memory and losses are then those of two, speed is not.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from full_width import PACKAGES, matmul_teraflops
from report import write_report
from several_gpus_killed import killed_and_resumed
from several_gpus_summary import layers_that_fit, summary

BENCH = Path(__file__).parent
STARTED = time.monotonic()

Case = dict[str, str | int]

# NVLink multicast stays off: a host may share its switch.
SHARED = {"NCCL_NVLS_ENABLE": "0", "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1", "NVSHMEM_DISABLE_NVLS": "1"}
# Ranks of one card take turns on it: with NCCL's own 4 MiB they would change them for every few of these.
ONE_CARD = {
    "NCCL_MULTI_RANK_GPU_ENABLE": "1",
    "NCCL_PROTO": "Simple",
    "NCCL_BUFFSIZE": str(2**25),
    "NCCL_P2P_NVL_CHUNKSIZE": str(2**22),
    "NCCL_P2P_PCI_CHUNKSIZE": str(2**22),
    **dict.fromkeys(("NCCL_MIN_NCHANNELS", "NCCL_MAX_NCHANNELS"), "4"),
    **dict.fromkeys(("NCCL_MIN_P2P_NCHANNELS", "NCCL_MAX_P2P_NCHANNELS"), "4"),
}
ONE_GPU = "one GPU"
KILLED = "killed"
GPU_BYTES = 80e9
RESIDENT: Case = {"frozen_weights": "resident"}
LONG: Case = {"length": 2**17, "batch": 1, "accumulate": 1, "steps": 4, "recompute": "full"}
LARGE: Case = {**RESIDENT, "frozen": "float8", "arithmetic": "float8", "recompute": "full"}
RAISED = re.compile(r"\w(Error|Exception|Failure): |error: ")


def cases(gpus: int) -> dict[str, Case]:
    """By name, what matters most first; `layers` -1: as many as fit."""
    float8: Case = {"frozen": "float8"}
    deep: Case = {**float8, "expert": gpus, "recompute": "full"}
    return {
        ONE_GPU: {"micro_steps": 7},
        f"EP={gpus}, experts copied": {"expert": gpus, "moved": 1},
        f"EP={gpus}": {"expert": gpus, "profiled": 1},
        f"EP={gpus}, resident": {"expert": gpus, **RESIDENT, "profiled": 1},
        f"FSDP={gpus}, resident": RESIDENT,
        f"copies={gpus}": {"replicate": gpus},
        "CP=2, EP=2, 131072 tokens": {"context": 2, "expert": 2, **LONG},
        "CP=2, EP=2, 65536 tokens": {"context": 2, "expert": 2, **LONG, "length": 2**16},
        **long_on_one_card(),
        f"EP={gpus}, resident, float8 products, full recompute": {"expert": gpus, **LARGE},
        f"deep, EP={gpus}, resident, float8 products, full recompute": {
            **LARGE,
            "expert": gpus,
            "layers": -1,
        },
        f"{ONE_GPU}, float8 products, full recompute": {**LARGE, "accumulate": 1},
        f"{ONE_GPU}, deep, float8 products, full recompute": {**LARGE, "accumulate": 1, "layers": -1},
        f"FSDP={gpus}": {},
        f"EP={gpus}, full recompute": {"expert": gpus, "recompute": "full"},
        "TP=2": {"tensor": 2},
        "PP=2": {"pipeline": 2},
        f"deep, EP={gpus}, float8, full recompute": {**deep, "layers": -1},
        KILLED: {},
        f"EP={gpus}, float8, full recompute": deep,
        f"EP={gpus}, float8": {**float8, "expert": gpus},
        f"FSDP={gpus}, float8": float8,
        "TP=2, EP=2": {"tensor": 2, "expert": 2},
        "CP=2": {"context": 2},
        f"deep, EP={gpus}, bfloat16, full recompute": {**deep, "frozen": "precision", "layers": -1},
    }


def long_on_one_card() -> dict[str, Case]:
    """What two ranks that share a card of 141 GB have room for, each beside the same in one rank."""
    half: Case = {**LONG, "frozen": "float8", "length": 2**16}
    fewer: Case = {**LONG, "frozen": "float8", "experts_per_token": 4}
    divided: Case = {"context": 2, "expert": 2}
    return {
        f"{ONE_GPU}, 65536 tokens, float8": half,
        "CP=2, EP=2, 65536 tokens, float8": {**half, **divided},
        "CP=2, EP=2, 131072 tokens, float8, 4 experts a token": {**fewer, **divided},
        "CP=2, EP=2, 131072 tokens, float8, 2 experts a token": {**fewer, **divided, "experts_per_token": 2},
        f"{ONE_GPU}, 131072 tokens, float8, 4 experts a token": fewer,
    }


def main() -> int:
    arguments = _parse_arguments()
    if (gpus := arguments.gpus or torch.cuda.device_count()) < 2:
        print("SKIPPED: bench/several_gpus.py needs two GPUs", file=sys.stderr)
        return 0
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    base = arguments.scratch / "base"
    if not (base / "config.json").exists():
        subprocess.run([sys.executable, BENCH / "full_width_base.py", base], check=True)
    kept = arguments.scratch / "several-gpus.json"
    measured: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    wanted = arguments.only or [name for name in cases(gpus) if name not in measured]
    launches = {name: Launch(name, cases(gpus)[name], gpus, arguments) for name in wanted}
    for place, (name, launch) in enumerate(launches.items()):
        if time.monotonic() - STARTED > arguments.seconds:
            break
        launch.start()
        for following in wanted[place + 1 : place + 2]:  # it imports meanwhile, and waits
            launches[following].start()
        measured[name] = launch.measure()
        print("RESULT", name, json.dumps(measured[name])[:1200], flush=True)
        kept.write_text(json.dumps(measured))
    for launch in launches.values():
        launch.stop()
    _report(measured, gpus, arguments)
    return 0


def _report(measured: Mapping[str, Any], gpus: int, arguments: argparse.Namespace) -> None:
    on_gpus = arguments.device == "cuda"
    figures = {
        "model": f"{arguments.flavor}, rank 16 on attention, micro-batches of 2 x {arguments.length}",
        "gpus": gpus,
        "oneCard": arguments.one_card,
        "card": torch.cuda.get_device_name() if on_gpus else "none",
        "matmulTeraflops": matmul_teraflops() if on_gpus else None,
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if on_gpus else None,
        "summary": summary(measured, ONE_GPU),
        "measured": measured,
        "leftOut": [name for name in cases(gpus) if name not in measured],
    }
    name = "several-ranks-of-one-gpu" if arguments.one_card else "several-gpus"
    write_report(name if on_gpus else f"{name}-dry-run", figures, packages=PACKAGES)


class Launch:
    """A case: its ranks, which import everything and wait for `measure`."""

    def __init__(self, name: str, case: Case, gpus: int, arguments: argparse.Namespace) -> None:
        self.name, self.gpus, self.arguments = name, gpus, arguments
        self.processes = 1 if name.startswith(ONE_GPU) else gpus
        slug = re.sub(r"\W+", "-", name)
        self.folder: Path = arguments.scratch / "cases" / f"{slug}-{os.getpid()}"
        self.folder.mkdir(parents=True)
        self.settings: dict[str, Any] = {
            "base": arguments.scratch / "base",
            "folder": self.folder,
            "go": self.folder / "go",
            "flavor": arguments.flavor,
            "device": arguments.device,
            "precision": arguments.precision,
            "length": arguments.length,
            "accumulate": gpus,
            "one_card": int(arguments.one_card),
            "traces": arguments.traces,
            **case,
        }
        if case.get("layers"):
            layers = arguments.layers or _most_layers(self.settings, self.processes, arguments)
            self.settings["layers"] = layers
            self.settings["base"] = arguments.scratch / f"deep-{layers}"
        self.log = self.folder / "output.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.process or self.name == KILLED:
            return
        options = [f"--{option.replace('_', '-')}={value}" for option, value in self.settings.items()]
        options += ["--compile"] if self.arguments.compile else []
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={self.processes}"]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *torchrun, str(BENCH / "several_gpus_rank.py"), *options],
                env=_environment(self.arguments),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def measure(self) -> dict[str, Any]:
        """What rank 0 says; the last lines of its error where the case fails, or takes too long."""
        base: Path = self.settings["base"]
        if not base.exists() and not _write_deep_base(base, self.settings["layers"], self.arguments):
            return {"failed": ["the base could not be written"]}
        print(f"{time.monotonic() - STARTED:.0f} s {self.name}", flush=True)
        if self.name == KILLED:
            environment = _environment(self.arguments)
            return killed_and_resumed(self.folder, base, self.gpus, self.settings, environment)
        started = time.monotonic()
        self.settings["go"].touch()
        output = self._output()
        if lines := [line[7:] for line in output.splitlines() if line.startswith("RESULT ")]:
            return json.loads(lines[-1]) | {"wholeSeconds": round(time.monotonic() - started, 1)}
        print(output[-3000:], flush=True)
        return {"failed": _errors(output)}

    def _output(self) -> str:
        assert self.process is not None
        limit = self.arguments.case_seconds
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.stop()
            return f"{self.log.read_text()}\nTimeoutError: stopped after {limit} s"
        return self.log.read_text()

    def stop(self) -> None:
        """torchrun ends its workers."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def _errors(output: str) -> list[str]:
    """What a rank raised, and not what torchrun says of it."""
    lines = [line[:400] for line in output.splitlines()]
    raised = [line for line in lines if RAISED.search(line) and "ChildFailedError" not in line]
    return raised[:3] + raised[3:][-3:] or lines[-6:]


def _most_layers(settings: dict[str, Any], gpus: int, arguments: argparse.Namespace) -> int:
    used = sum(file.stat().st_size for file in settings["base"].glob("*"))
    free = sum(file.stat().st_size for file in arguments.scratch.glob("deep-*/*"))
    free += shutil.disk_usage(arguments.scratch).free - 6 * 10**9
    return layers_that_fit(settings, gpus, GPU_BYTES, min(arguments.host_gb * 1e9 - used, free))


def _write_deep_base(folder: Path, layers: int, arguments: argparse.Namespace) -> bool:
    for other in arguments.scratch.glob("deep-*"):
        shutil.rmtree(other)
    print(f"{time.monotonic() - STARTED:.0f} s {folder}", flush=True)
    options = [folder, arguments.scratch / "base", arguments.flavor, str(layers)]
    return not subprocess.run([sys.executable, BENCH / "several_gpus_deep.py", *options]).returncode


def _environment(arguments: argparse.Namespace) -> dict[str, str]:
    caches = {
        "TORCHINDUCTOR_CACHE_DIR": str(arguments.scratch / "inductor"),
        "TRITON_CACHE_DIR": str(arguments.scratch / "triton"),
        "FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED": "1",
        "FLASH_ATTENTION_CUTE_DSL_CACHE_DIR": str(arguments.scratch / "flash"),
    }
    shared = ONE_CARD if arguments.one_card else {}
    return {**os.environ, **SHARED, **shared, **caches, "OMP_NUM_THREADS": "1", "FINETUNE_PROGRESS_PORT": "0"}


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm/full-width"))
    parser.add_argument("--seconds", type=float, default=3600, help="start no case later than this")
    parser.add_argument("--case-seconds", type=float, default=170, help="stop a case that takes longer")
    parser.add_argument("--only", nargs="*", default=[], help="these cases, in this order")
    parser.add_argument("--layers", type=int, default=0, help="of the deep model; 0: as many as fit")
    parser.add_argument("--host-gb", type=float, default=150, help="what all bases may take")
    parser.add_argument("--gpus", type=int, default=0, help="0: all of them")
    parser.add_argument("--one-card", action="store_true", help="all ranks share one GPU")
    parser.add_argument(
        "--traces", type=int, default=0, help="seconds between what threads are at in the log"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a dry run")
    parser.add_argument("--flavor", default="deepseek_aghilora")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--compile", action="store_true", help="in a dry run too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
