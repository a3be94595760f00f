"""The curves of metrics.jsonl, as charts."""

from collections.abc import Iterator, Sequence

from finetune_trainer.report import chart
from finetune_trainer.report.curves import Metrics, Point
from finetune_trainer.report.figures import GIB
from finetune_trainer.report.material import Material

REWARDS = ("margin", "chosen", "rejected")


def charts(material: Material) -> list[chart.Chart]:
    """Those that have points."""
    exported = material.chosen.step if material.chosen else None
    return [drawn for drawn in _charts(material.metrics, exported) if drawn]


def _charts(metrics: Metrics, exported: int | None) -> Iterator[chart.Chart | None]:
    curve = metrics.curve
    by_source = {f"validation, {name}": points for name, points in metrics.curves("validationLossBySource")}
    losses: dict[str, Sequence[Point]] = {
        "training": curve("loss"),
        "validation": curve("validationLoss"),
        **by_source,
    }
    yield chart.draw_chart("Loss", losses, mark=(exported, "exported") if exported else None)
    rewards = dict(metrics.curves("rewards"))
    of_pairs: dict[str, Sequence[Point]] = {name: rewards.get(name, ()) for name in REWARDS}
    yield chart.draw_chart("Rewards of preference pairs", of_pairs)
    yield chart.draw_chart(
        "Pairs whose chosen answer has more reward", {"share": rewards.get("accuracy", ())}
    )
    yield chart.draw_chart("Learning rate", {"learning rate": curve("learningRate")})
    yield chart.draw_chart("Gradient norm", {"before clipping": curve("gradNorm")})
    yield chart.draw_chart("Tokens a second, all processes", {"tokens/s": curve("tokensPerSecond")})
    yield chart.draw_chart(
        "Tokens of experts, over the mean",
        {"fullest expert": curve("expertLoad"), "fullest rank": curve("expertRankLoad")},
    )
    yield chart.draw_chart("Time of the slowest rank", {"over one in the middle": curve("slowdown")})
    memory = [(step, value / GIB) for step, value in curve("peakMemoryBytes")]
    yield chart.draw_chart("Peak memory of the first process, GiB", {"GiB": memory})
