"""The figures at the top."""

from collections import Counter
from datetime import UTC, datetime
from statistics import median

from finetune_trainer.report import chart
from finetune_trainer.report.curves import Metrics
from finetune_trainer.report.material import Material

GIB = 2**30


def figures(material: Material) -> dict[str, str]:
    """Those that are known."""
    metrics = material.metrics
    best, memory = metrics.least("validationLoss"), metrics.greatest("peakMemoryBytes")
    loss, speed, times = metrics.last("loss"), metrics.median("tokensPerSecond"), metrics.values("time")
    found = {
        "steps": f"{metrics.last('step'):,.0f}",
        "last loss": chart.number(loss) if loss is not None else None,
        "best validation loss": f"{chart.number(best[1])} (step {best[0]:,.0f})" if best else None,
        "tokens/s, median": f"{speed:,.0f}" if speed is not None else None,
        "slowest rank": _slowest(metrics),
        "peak memory": f"{memory / GIB:,.1f} GiB" if memory is not None else None,
        "first step": _moment(times[0]) if times else None,
        "last step": _moment(times[-1]) if times else None,
        "exported step": _exported(material),
    }
    return {name: value for name, value in found.items() if value is not None}


def _exported(material: Material) -> str | None:
    """The step that became the adapter, and why."""
    return str(material.chosen).removeprefix("step ") if material.chosen else None


def _slowest(metrics: Metrics) -> str | None:
    """The rank that was waited for in most steps, and by how much in the middle one of these."""
    steps = list(zip(metrics.values("slowestRank"), metrics.values("slowdown"), strict=True))
    if not steps:
        return None
    (rank, times), *_ = Counter(rank for rank, _ in steps).most_common(1)
    slowdown = median(slowdown for slowest, slowdown in steps if slowest == rank)
    return f"{rank:.0f} in {times / len(steps):.0%} of the steps, {slowdown:.2f} times one in the middle"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
