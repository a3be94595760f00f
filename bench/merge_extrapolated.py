"""The merge of 671B foretold from merges that fit on a disk, and how far such a prediction is off.

`python bench/merge_extrapolated.py --folder DISK`. An adapter on attention is merged into models of three
sizes. What grows is the bytes of the files that hold attention, as all others are links: a line through the
two small sizes says what the largest takes, which is measured too. DeepSeek-V3's bytes are the plan's, of the
newest report of merge_671b.py. Each merged model then passes the gate: its seconds and memory are beside.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from merge import PACKAGES, RUNS, Measured, _median, _run
from report import RESULTS, write_report

LAYERS = (2, 4, 8)
"""1.5 to 8.4 GB in bfloat16: with what is rewritten the largest takes 11.2 GB of disk. 16 take 25."""
CONVERT = Path(sys.executable).with_name("finetune-convert")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--layers", type=int, nargs=3, default=LAYERS, help="of the three sizes")
    options = parser.parse_args()
    sizes = [_size(layers, options.folder, options.runs) for layers in options.layers]
    *small, largest = [(size["rewrittenBytes"], size["merge"]) for size in sizes]
    figures: dict[str, Any] = {"layers": options.layers, "sizes": sizes}
    for what in ("seconds", "cpuSeconds"):
        line = _line([(size, measured[what]) for size, measured in small])
        found = largest[1][what]
        whole = _line([(size, m[what]) for size, m in (small[0], largest)])
        figures[what] = {
            "predictedOfLargest": round(line(largest[0]), 2),
            "measuredOfLargest": found,
            "error": round(line(largest[0]) / found - 1, 3),
            "of671B": round(whole(_planned()), 0),
            # What a merge costs before its first byte (importing torch), and what each rewritten GB adds.
            "fixed": round(whole(0), 2),
            "perRewrittenGB": round((whole(10**9) - whole(0)), 2),
        }
    write_report("merge-extrapolated", figures | {"bytesOf671B": _planned()}, packages=PACKAGES)


def _size(layers: int, disk: Path | None, runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=disk) as name:
        folder = Path(name)
        make = [sys.executable, Path(__file__).with_name("random_model.py"), folder, "--layers", layers]
        subprocess.run([str(word) for word in make], check=True)
        options = ["--base", folder / "base", "--adapter", folder / "attention"]
        merges: list[Measured] = []
        for _ in range(runs):
            shutil.rmtree(folder / "out", ignore_errors=True)
            os.sync()
            merges.append(
                _run("finetune-convert merge", [CONVERT, "merge", *options, "--out", folder / "out"])
            )
        gate = _run("finetune-convert verify", [CONVERT, "verify", *options, "--merged", folder / "out"])
        files = [file.stat() for file in (folder / "out").glob("*.safetensors")]
        return {
            "bytes": sum(file.st_size for file in files),
            "rewrittenBytes": sum(file.st_size for file in files if file.st_nlink == 1),
            "merge": _median(merges),
            "gate": _median([gate]),
        }


def _line(points: list[tuple[int, float]]) -> Callable[[int], float]:
    """Seconds of so many bytes, by the straight line through two points."""
    ((low, before), (high, after)) = points
    slope = (after - before) / (high - low)
    return lambda size: before + slope * (size - low)


def _planned() -> int:
    """What is rewritten of DeepSeek-V3 where files can be linked."""
    newest = max(RESULTS.glob("*-merge-671b.json"))
    plan: Mapping[str, Any] = json.loads(newest.read_text())["figures"]["plans"]["attention, dtype base"]
    written: int = plan["bytes"]["hard link"]["written"]
    return written


if __name__ == "__main__":
    main()
