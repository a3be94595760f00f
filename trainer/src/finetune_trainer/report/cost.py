"""What a run has cost: time of its processors, and tokens."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from finetune_trainer.report.chart import number
from finetune_trainer.report.material import Material

LONGEST_GAP_SECONDS = 600.0
"""Between two lines of metrics.jsonl: more, and twenty times more than usual, is a run that did not run."""


def cost(material: Material) -> dict[str, str]:
    """What can be told of it; nothing of a run of one step."""
    run, metrics = material.run, material.metrics
    seconds, pauses = held(metrics.values("time"))
    steps = metrics.last("step") or 0
    if not seconds:
        return {}
    processors = run.workers.world_size
    kind = "GPU hours" if run.workers.device == "cuda" else "hours of CPU processes"
    tokens = steps * run.training.global_batch_size * run.training.sequence_length
    hours = f"{number(seconds * processors / 3600)} ({processors} for {number(seconds / 3600)} h"
    return {
        kind: f"{hours}, from the first step to the last{_without(pauses)})",
        "tokens computed": f"{number(tokens)} in {steps:,.0f} steps, padding included",
        "tokens a processor and second": number(tokens / seconds / processors),
        "passes over the data": _passes(material, steps),
    }


def held(times: Sequence[float]) -> tuple[float, int]:
    """Seconds in which the run went on, and how often it did not: where it was stopped and resumed."""
    gaps = [after - before for before, after in pairwise(sorted(times))]
    if not gaps:
        return 0.0, 0
    longest = max(LONGEST_GAP_SECONDS, 20 * median(gaps))
    return sum(gap for gap in gaps if gap <= longest), sum(gap > longest for gap in gaps)


def _without(pauses: int) -> str:
    return f", {pauses} pauses left out" if pauses else ""


def _passes(material: Material, steps: float) -> str:
    sequences = material.data.get("sequences")
    if not isinstance(sequences, int) or not sequences:
        return "unknown"
    return number(steps * material.run.training.global_batch_size / sequences)
