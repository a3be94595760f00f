"""The first losses against transformers + PEFT: same weights, first values, data and order, in float32."""

from pathlib import Path

from report import write_report
from training_runs import PACKAGES, TRAINER_SETTINGS, peft_losses, synthetic_rows, training_run, workshop

STEPS = 20
TOLERANCE = 1e-3


def main() -> None:
    with workshop() as folder:
        ours = _train_ours(folder)
        theirs = peft_losses(folder / "base", synthetic_rows(STEPS))
    differences = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    figures = {
        "model": "tiny_lora, float32, rank 16 on the five MLA projections",
        "steps": STEPS,
        "greatestDifference": max(differences),
        "tolerance": TOLERANCE,
        "within": max(differences) <= TOLERANCE,
        "trainer": ours,
        "transformersAndPeft": theirs,
    }
    write_report("loss-against-peft", figures, packages=PACKAGES)


def _train_ours(folder: Path) -> list[float]:
    run = training_run(folder, "trainer", {**TRAINER_SETTINGS, "training.steps": STEPS})
    run.execute()
    return [step["loss"] for step in run.steps]


if __name__ == "__main__":
    main()
