"""Full width on one GPU: our trainer against transformers + PEFT, on the same weights and data, in one run.

`python bench/full_width.py --scratch /dev/shm/full-width` needs 26 GB there and a GPU of 80 GB. Where the
peer's packages are another environment's, name its interpreter by --peer-python.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from full_width_summary import loss_drawing, summary
from report import write_report

BENCH = Path(__file__).parent
STARTED = time.monotonic()
# Where the trainer's environment is made of these, the peer's is another.
OURS_ONLY = ("PYTHONPATH", "LD_PRELOAD")
PACKAGES = ("torch", "torchtitan", "safetensors")
LOSS = ["--batch=2", "--length=1024", "--steps=200", "--rate=5e-4"]
FLOAT8 = ["--frozen=float8", "--arithmetic=float8"]
# In the order of what matters most, for runs with little time.
MEASUREMENTS: dict[str, tuple[str, list[str]]] = {
    "trainer, batch 2": ("trainer", ["--checkpoints=4"]),
    "PEFT, batch 2": ("peft", []),
    "PEFT, adapters in bfloat16, batch 2": ("peft", ["--adapters=bfloat16"]),
    "trainer, FP8 products, batch 2": ("trainer", FLOAT8),
    "trainer, FP8 products, batch 6": ("trainer", [*FLOAT8, "--batch=6"]),
    "PEFT, adapters in bfloat16, batch 4": ("peft", ["--adapters=bfloat16", "--batch=4"]),
    "loss, trainer": ("trainer", LOSS),
    "loss, PEFT": ("peft", LOSS),
    "loss, trainer, FP8 products": ("trainer", [*LOSS, *FLOAT8]),
    "trainer, batch 6": ("trainer", ["--batch=6"]),
    "trainer, float8, batch 2": ("trainer", ["--frozen=float8"]),
    "trainer, FP8 products, batch 4": ("trainer", [*FLOAT8, "--batch=4"]),
    "trainer, batch 4": ("trainer", ["--batch=4"]),
    "PEFT, batch 4": ("peft", ["--batch=4"]),
    "trainer, dropout, batch 2": ("trainer", ["--dropout=0.1", "--targets=attention,experts"]),
    "PEFT, recompute, batch 2": ("peft", ["--recompute=full"]),
    "trainer, FP8 products, full recompute, batch 2": ("trainer", [*FLOAT8, "--recompute=full"]),
    "trainer, full recompute, batch 2": ("trainer", ["--recompute=full"]),
    "trainer, float8, full recompute, batch 2": ("trainer", ["--frozen=float8", "--recompute=full"]),
    "PEFT, recompute, batch 4": ("peft", ["--recompute=full", "--batch=4"]),
    "trainer, selective recompute, batch 2": ("trainer", ["--recompute=selective"]),
    "trainer, flex attention, batch 2": ("trainer", ["--attention=flex"]),
}


def main() -> int:
    if not torch.cuda.is_available():
        print("SKIPPED: bench/full_width.py needs a GPU, and there is none", file=sys.stderr)
        return 0
    arguments = _parse_arguments()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    base, first = arguments.scratch / "base", arguments.scratch / "first-values.safetensors"
    if not (base / "config.json").exists():
        subprocess.run([sys.executable, BENCH / "full_width_base.py", base], check=True)
    kept = arguments.scratch / "measured.json"
    measured: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}

    def measure_all(gpu: int, names: list[str]) -> None:
        for name in names:
            side, settings = MEASUREMENTS[name]
            if name in measured or time.monotonic() - STARTED > arguments.seconds:
                continue
            settings = [f"--base={base}", *settings]
            settings += [f"--first-values={first}"] if name.startswith("loss") else []
            measured[name] = _measure(side, settings, arguments.peer_python, gpu)
            kept.write_text(json.dumps(measured))

    lanes = _lanes(torch.cuda.device_count())
    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(measure_all, range(len(lanes)), lanes))
    rate = matmul_teraflops()
    figures = {
        "model": "deepseek_aghilora, 13.95B parameters, rank 16 on the five MLA projections, sequence 4096",
        "card": torch.cuda.get_device_name(),
        "matmulTeraflops": rate,
        "summary": summary(measured, rate),
        "measured": measured,
        "leftOut": [name for name in MEASUREMENTS if name not in measured],
    }
    report = write_report("full-width", figures, packages=PACKAGES)
    if drawing := loss_drawing(measured):
        report.with_name(f"{report.stem}-loss.svg").write_text(drawing)
    return 0


def _lanes(gpus: int) -> list[list[str]]:
    """What is timed on the first GPU, so that it compares, and losses on a second one, if there is one."""
    timed = [name for name in MEASUREMENTS if not name.startswith("loss")]
    losses = [name for name in MEASUREMENTS if name.startswith("loss")]
    return [timed, losses] if gpus > 1 else [list(MEASUREMENTS)]


def _measure(side: str, settings: list[str], peer_python: str, gpu: int) -> dict[str, Any]:
    """What one process says of itself; the error where it fails, out of memory for example."""
    python, environment = sys.executable, os.environ | {"CUDA_VISIBLE_DEVICES": str(gpu)}
    if side == "peft" and peer_python:
        python = peer_python
        environment = {name: value for name, value in environment.items() if name not in OURS_ONLY}
    command = [python, str(BENCH / f"full_width_{side}.py"), *settings]
    print("$", *command, flush=True)
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = [
        line.removeprefix("RESULT ") for line in result.stdout.splitlines() if line.startswith("RESULT ")
    ]
    print(lines[-1][:600] if lines else result.stderr[-2000:], flush=True)
    if lines:
        measured: dict[str, Any] = json.loads(lines[-1])
        return measured
    error = next((line for line in reversed(result.stderr.splitlines()) if "Error" in line), "no result")
    return {"failed": error[:300], "exitCode": result.returncode}


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm/full-width"), help="room for 26 GB")
    parser.add_argument("--peer-python", default="", help="the interpreter that has transformers and PEFT")
    parser.add_argument("--seconds", type=float, default=3600, help="start no measurement later than this")
    return parser.parse_args()


def matmul_teraflops(size: int = 8192, repeats: int = 20) -> float:
    """What the card does in a product of two bfloat16 matrices of random values."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        a @ b
    end.record()
    torch.cuda.synchronize()
    return round(2 * size**3 * repeats / start.elapsed_time(end) / 1e9, 1)


if __name__ == "__main__":
    sys.exit(main())
