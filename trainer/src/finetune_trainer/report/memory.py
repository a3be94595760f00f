"""Memory of a training process: what the operator planned, and what was used."""

from collections.abc import Mapping
from typing import Any

from finetune_trainer.report.figures import GIB
from finetune_trainer.report.material import Material


def memory(material: Material) -> Mapping[str, Any]:
    """Both as rows, each with its share of the larger one; nothing where no step was measured."""
    used, planned = material.metrics.greatest("peakMemoryBytes"), material.planned_memory
    if used is None:
        return {}
    largest = max(used, planned or 0)
    known = {"planned": planned, "used, at most": used}
    rows = [
        (name, f"{value / GIB:,.2f} GiB", round(100 * value / largest))
        for name, value in known.items()
        if value is not None
    ]
    return {"rows": rows, "remark": _remark(material, used, planned)}


def _remark(material: Material, used: float, planned: int | None) -> str:
    if planned is None:
        return "Nothing was planned: the size of the base was not known then."
    on_gpu = material.run.workers.device == "cuda"
    of_what = "tensors on the GPU" if on_gpu else "the whole process, with Python and its libraries"
    return (
        f"Planned are model, optimizer and activations; used is {of_what}: {used / planned:.0%} of the plan. "
        "See docs/guides/fits.md."
    )
