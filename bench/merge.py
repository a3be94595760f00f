"""The merge of a model of 4.9 GB, side by side: ours, `cp -r` of the same files, and PEFT's.

Each is a process of its own; peak memory is the kernel's account of it. All but "cp -r" make their files
durable, or are followed by `sync`. The files are in the page cache for everyone: they have just been written.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import write_report

RUNS = 3
PACKAGES = ("torch", "transformers", "peft", "safetensors")
PEFT = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out, max_shard_size="1GB")
"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: a child's peak memory begins with that of the process that forked it.
        subprocess.run([sys.executable, Path(__file__).with_name("merge_model.py"), folder], check=True)
        base, attention, everything, out = (
            folder / part for part in ("base", "attention", "everything", "out")
        )
        convert = [str(Path(sys.executable).with_name("finetune-convert")), "merge"]
        cases = {
            "cp -r": ["cp", "-r", base, out],
            "cp -r, then sync": ["sh", "-c", f"cp -r {base} {out} && sync {out}/*"],
            "finetune-convert, attention": [*convert, "--base", base, "--adapter", attention, "--out", out],
            "finetune-convert, attention and experts": [
                *convert, "--base", base, "--adapter", everything, "--out", out,
            ],
            "PEFT merge_and_unload + save_pretrained, then sync": [
                "sh", "-c", f'"{sys.executable}" -c \'{PEFT}\' {base} {attention} {out} && sync {out}/*',
            ],
        }  # fmt: skip
        figures = _measure(cases, out, runs)
        size = sum(file.stat().st_size for file in base.iterdir())
        write_report("merge", {"baseBytes": size, "runs": runs, **figures}, packages=PACKAGES)


def _measure(cases: dict[str, list[Any]], out: Path, count: int) -> dict[str, Any]:
    measured: dict[str, list[Measured]] = {name: [] for name in cases}
    for _ in range(count):
        for name, command in cases.items():
            measured[name].append(_run(command))
            shutil.rmtree(out)
    medians = {name: _median(runs) for name, runs in measured.items()}
    copy = medians["cp -r, then sync"]["seconds"]
    ratios = {name: round(median["seconds"] / copy, 2) for name, median in medians.items()}
    return {"median": medians, "secondsAgainstCpThenSync": ratios}


def _median(runs: list[Measured]) -> dict[str, float]:
    def median(of: Callable[[Measured], float]) -> float:
        return round(statistics.median(map(of, runs)), 2)

    return {
        "seconds": median(lambda run: run.seconds),
        "cpuSeconds": median(lambda run: run.cpu_seconds),
        "peakRssGB": median(lambda run: run.peak_rss_bytes / 1e9),
    }


def _run(command: list[Any]) -> Measured:
    begin = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return Measured(
        seconds=time.monotonic() - begin,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_rss_bytes=usage.ru_maxrss * 1024,
    )


if __name__ == "__main__":
    main()
