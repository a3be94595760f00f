"""Merges of models of 10 GB side by side: ours, `cp -r` of the same files, PEFT's, and axolotl's.

Each is a process of its own; peak memory is the kernel's account of it. All but "cp -r" make their files
durable, or are followed by `sync`. Bases are as prepare leaves them, with the sha256 of their files, in as
many files a layer as DeepSeek-V3 has, and in the page cache where they fit. `--xfs` also measures on a file
system with reflinks: an XFS image on the same disk, mounted by loop, which needs root and xfsprogs.
`--axolotl` names the interpreter of an environment with axolotl, whose merge also goes shard by shard. Of
other tools that install, mergekit and LLaMA-Factory merge by PEFT's own merge, unsloth wants a GPU and
torchtune knows no DeepSeek.
"""

import argparse
import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from report import write_report

RUNS = 3
XFS_BYTES = 26 * 10**9
"""Holds a model, its adapters and one copy."""
PACKAGES = ("torch", "transformers", "peft", "safetensors")
OTHER_BYTES = 17 * 2**30
"""What another tool may take: more would push everything else out of a machine of 24 GiB."""
PEFT = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out, max_shard_size="1GB")
"""
AXOLOTL = """
import sys
from pathlib import Path
from axolotl.cli.utils.lora_merge import merge_lora_sharded_efficient
merge_lora_sharded_efficient(*map(Path, sys.argv[1:]), device="cpu")
"""
CP, CP_SYNC = "cp -r", "cp -r, then sync"
ATTENTION, EVERYTHING = "finetune-convert, attention, dtype base", "finetune-convert, attention and experts"


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is merged, where, and which other tools take part."""

    layers: int
    float8: bool = False
    xfs: bool = False
    peft: bool = False
    axolotl: bool = False


MODELS = {
    "bfloat16, 10 GB": Model(layers=10, peft=True, axolotl=True),
    "float8, 10 GB": Model(layers=19, float8=True),
    "float8, 10 GB, XFS with reflinks": Model(layers=19, float8=True, xfs=True),
    "bfloat16, 5 GB": Model(layers=5, peft=True),
    "float8, 5 GB": Model(layers=9, float8=True),
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    load: float
    exit_code: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    parser.add_argument("--xfs", action="store_true")
    parser.add_argument("--axolotl", metavar="PYTHON")
    parser.add_argument("--only", choices=MODELS, action="append", help="a model; repeat for more")
    options = parser.parse_args()
    figures: dict[str, Any] = {"runs": options.runs}
    for name, model in MODELS.items():
        if (model.xfs and not options.xfs) or (options.only and name not in options.only):
            continue
        with (
            tempfile.TemporaryDirectory(dir=options.folder) as folder,
            _volume(Path(folder), model.xfs) as at,
        ):
            figures[name] = _model(at, model, options)
        # After every model: what was measured is kept when the next one ends the run.
        write_report("merge-10gb", figures, packages=PACKAGES)


@contextlib.contextmanager
def _volume(folder: Path, xfs: bool) -> Iterator[Path]:
    """The folder, or an XFS mounted in it."""
    if not xfs:
        yield folder
        return
    image, at = folder / "xfs.img", folder / "xfs"
    at.mkdir()
    _call("truncate", "-s", XFS_BYTES, image)
    _call("mkfs.xfs", "-q", "-m", "reflink=1", image)
    # Direct I/O: else every page would be in the page cache twice, as the image's and as the file's.
    loop = subprocess.run(
        ["losetup", "--find", "--show", "--direct-io=on", image],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    try:
        _call("mount", loop, at)
        try:
            yield at
        finally:
            _call("umount", at)
    finally:
        _call("losetup", "--detach", loop)


def _call(*command: Any) -> None:
    subprocess.run([str(word) for word in command], check=True)


def _model(folder: Path, model: Model, options: argparse.Namespace) -> dict[str, Any]:
    # In a process of its own: a child's peak memory begins with that of the process that forked it.
    make = [sys.executable, Path(__file__).with_name("random_model.py"), folder, "--layers", model.layers]
    _call(*make, *(["--float8"] if model.float8 else []))
    base, out = folder / "base", folder / "out"
    measured: dict[str, list[Measured]] = {}
    cases = _cases(folder, model, options.axolotl)
    for _ in range(options.runs):
        for name, command in cases.items():
            if name in measured and not _is_ours(name):
                continue
            os.sync()
            measured.setdefault(name, []).append(_run(name, command))
            shutil.rmtree(out, ignore_errors=True)
    medians = {name: _median(found) for name, found in measured.items()}
    durable = medians[CP_SYNC]["seconds"]
    return {
        "baseBytes": sum(file.stat().st_size for file in base.iterdir()),
        "files": len([*base.glob("*.safetensors")]),
        "median": medians,
        "secondsAgainstCpThenSync": {name: round(m["seconds"] / durable, 2) for name, m in medians.items()},
        "each": {n: [asdict(r) for r in m] for n, m in measured.items()},
    }


def _cases(folder: Path, model: Model, axolotl: str | None) -> dict[str, list[Any]]:
    base, attention, everything, out = (folder / part for part in ("base", "attention", "everything", "out"))
    convert = [str(Path(sys.executable).with_name("finetune-convert")), "merge", "--base", base, "--out", out]
    # coreutils 9 would share extents instead of copying.
    copy = ["cp", "-r", "--reflink=never", base, out]
    cases = {
        CP: copy,
        CP_SYNC: ["sh", "-c", f"{' '.join(map(str, copy))} && sync {out}/*"],
        ATTENTION: [*convert, "--adapter", attention],
        EVERYTHING: [*convert, "--adapter", everything],
    }
    others = {
        "PEFT merge_and_unload + save_pretrained, attention, then sync": (
            sys.executable if model.peft else None,
            PEFT,
        ),
        "axolotl merge_lora_sharded_efficient, attention, then sync": (
            axolotl if model.axolotl else None,
            AXOLOTL,
        ),
    }
    for name, (python, code) in others.items():
        if python:
            cases[name] = ["sh", "-c", f"\"{python}\" -c '{code}' {base} {attention} {out} && sync {out}/*"]
    return cases


def _is_ours(name: str) -> bool:
    """Ours, and `cp`, run several times; other tools, which take minutes, once and within OTHER_BYTES."""
    return name.startswith(("cp", "finetune"))


def _median(runs: list[Measured]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "seconds": round(statistics.median(run.seconds for run in runs), 2),
        "cpuSeconds": round(statistics.median(run.cpu_seconds for run in runs), 2),
        "peakRssGB": round(statistics.median(run.peak_rss_bytes for run in runs) / 1e9, 2),
        "load": round(statistics.median(run.load for run in runs), 1),
        "runs": len(runs),
    }
    if any(run.exit_code for run in runs):
        found["failed"] = f"with {OTHER_BYTES} bytes at most: ended with {runs[-1].exit_code}"
    return found


def _run(name: str, command: list[Any]) -> Measured:
    ours = _is_ours(name)
    limit = resource.RLIM_INFINITY if ours else OTHER_BYTES
    load, begin = os.getloadavg()[0], time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status and ours:
        raise SystemExit(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return Measured(
        seconds=round(time.monotonic() - begin, 2),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2),
        peak_rss_bytes=usage.ru_maxrss * 1024,
        load=round(load, 1),
        exit_code=os.waitstatus_to_exitcode(status),
    )


if __name__ == "__main__":
    main()
