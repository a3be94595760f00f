"""Samples as training goes on, on a GPU: the train stage as its pod starts it, answering before it trains, at
two of its steps and at the end.

`python bench/samples_gpu.py --scratch /dev/shm/full-width` needs 26 GB there and a GPU of 80 GB.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from finetune_trainer.model.flash import flash_attention_works
from full_width import PACKAGES
from report import write_report
from several_gpus_killed import prepared_run

BENCH = Path(__file__).parent
STEPS, INTERVAL = 6, 2
SAMPLES = {"prompts": ["t5 t6 t7", "t9"], "maxTokens": 8, "maxSeconds": 120}


def main() -> int:
    arguments = _parse_arguments()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("SKIPPED: bench/samples_gpu.py needs a GPU, and there is none", file=sys.stderr)
        return 0
    base, folder = arguments.scratch / "base", arguments.scratch / "samples"
    if not (base / "config.json").exists():
        subprocess.run([sys.executable, BENCH / "full_width_base.py", base], check=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = {
        "flavor": arguments.flavor,
        "device": arguments.device,
        "precision": arguments.precision,
        "length": arguments.length,
        "accumulate": 1,
    }
    training = {
        "steps": STEPS,
        "samples": SAMPLES,
        "validation": {"interval": INTERVAL, "patience": None},
        "checkpoint": {"interval": STEPS, "keep": 2, "adapters": False},
    }
    command, metrics = prepared_run(folder, base, 1, settings, training)
    environment = os.environ | {
        "FINETUNE_PROGRESS_PORT": "0",
        "FINETUNE_TERMINATION_LOG": str(folder / "termination.json"),
    }
    started = time.monotonic()
    ended = subprocess.run(command, env=environment)
    lines = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    figures = {
        "model": f"{arguments.flavor}, rank 16 on attention, 2 x {arguments.length} tokens a step",
        "card": torch.cuda.get_device_name() if arguments.device == "cuda" else "none",
        "attention": _attention(arguments.device),
        "exitCode": ended.returncode,
        "wholeSeconds": round(time.monotonic() - started, 1),
        "adapter": (metrics.parent / "adapter").exists(),
        **_told(lines),
    }
    write_report(
        "samples-gpu" if arguments.device == "cuda" else "samples-dry-run", figures, packages=PACKAGES
    )
    return ended.returncode


def _told(lines: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "steps": [line for line in lines if "loss" in line],
        "samples": {line["step"]: line["samples"] for line in lines if "samples" in line},
    }


def _attention(device: str) -> str:
    if device == "cpu":
        return "dense"
    return "flash" if flash_attention_works() else "flex"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm/full-width"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a dry run")
    parser.add_argument("--flavor", default="deepseek_aghilora")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--length", type=int, default=4096)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
