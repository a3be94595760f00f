"""One process against two: losses and gradient norms of the same float32 training, divided in each way."""

from report import write_report
from training_runs import PACKAGES, training_run, workshop

STEPS = 10
CASES = {
    "one process": {},
    "fsdp 2": {"workers.processesPerNode": 2},
    "expert 2": {"workers.processesPerNode": 2, "training.parallelism.expert": 2},
    "tensor 2": {"workers.processesPerNode": 2, "training.parallelism.tensor": 2},
    "tensor 2, expert 2": {
        "workers.processesPerNode": 2,
        "training.parallelism.tensor": 2,
        "training.parallelism.expert": 2,
    },
    "pipeline 2": {"workers.processesPerNode": 2, "training.parallelism.pipeline": 2},
}
TOLERANCE = 1e-3


def main() -> None:
    curves = {}
    with workshop() as folder:
        for name, settings in CASES.items():
            run = training_run(folder, name, {"training.steps": STEPS} | settings)
            run.execute()
            curves[name] = run.steps
    reference = curves["one process"]
    differences = {
        name: {
            figure: max(abs(a[figure] - b[figure]) for a, b in zip(curve, reference, strict=True))
            for figure in ("loss", "gradNorm")
        }
        for name, curve in curves.items()
        if name != "one process"
    }
    worst = max(difference for case in differences.values() for difference in case.values())
    figures = {
        "model": "tiny_lora, float32, rank 16 on attention, mlp and experts",
        "steps": STEPS,
        "greatestDifference": differences,
        "tolerance": TOLERANCE,
        "within": worst <= TOLERANCE,
        "curves": curves,
    }
    write_report("parallelism", figures, packages=PACKAGES)


if __name__ == "__main__":
    main()
