"""One process against two: losses and gradient norms of the same float32 training, divided in each way."""

import tempfile
import time
from pathlib import Path

from report import write_report
from training_runs import FLOAT8_GROUP, ONE_PROCESS, PACKAGES, PARALLELISMS, STEPS, TARGETS, run_table

TOLERANCE = 1e-3


def main() -> None:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        table = run_table(Path(folder))
    seconds = time.perf_counter() - start
    curves = {name: result.steps for name, result in table.items()}
    differences = {
        group: {
            parallelism: _greatest_differences(
                curves[f"{group}, {parallelism}"], curves[f"{group}, {ONE_PROCESS}"]
            )
            for parallelism in PARALLELISMS
        }
        for group in (*TARGETS, FLOAT8_GROUP)
    }
    worst = max(figure for group in differences.values() for row in group.values() for figure in row.values())
    figures = {
        "model": "three layers of tiny_lora, float32, rank 16; float8: all targets, on a base frozen in FP8",
        "steps": STEPS,
        "greatestDifference": differences,
        "tolerance": TOLERANCE,
        "within": worst <= TOLERANCE,
        "seconds": round(seconds),
        "curves": curves,
    }
    write_report("parallelism", figures, packages=PACKAGES)


def _greatest_differences(curve: list[dict[str, float]], alone: list[dict[str, float]]) -> dict[str, float]:
    return {
        figure: max(abs(ours[figure] - theirs[figure]) for ours, theirs in zip(curve, alone, strict=False))
        for figure in ("loss", "gradNorm")
    }


if __name__ == "__main__":
    main()
