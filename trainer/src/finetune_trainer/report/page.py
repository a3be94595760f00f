"""The page: what the run's files say, put into report.html.jinja."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from finetune_trainer.checkpoint.selection import Selection, selection
from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.contract.whole_file import write_text
from finetune_trainer.report import chart
from finetune_trainer.report.curves import Metrics, Point
from finetune_trainer.report.lineage import lineage, read_json
from finetune_trainer.report.samples import side_by_side

logger = logging.getLogger(__name__)
TEMPLATE = "report.html.jinja"
GIB = 2**30


def write_report(run: RunFile, run_file: Path, folders: RunFolders, *, failure: str | None) -> None:
    """Write the run's report.html, if it has trained a step; it appears whole or not at all.

    failure: why the run ended before its last step. What goes wrong here is logged: it must not hide how
    the training ended.
    """
    try:
        metrics = Metrics.read(folders.metrics)
        if metrics.curve("loss"):
            write_text(folders.report, render(run, run_file, folders, metrics, failure))
    except Exception:
        logger.warning("%s is not written", folders.report, exc_info=True)


def render(run: RunFile, run_file: Path, folders: RunFolders, metrics: Metrics, failure: str | None) -> str:
    """The page's HTML. Everything that comes from files is escaped."""
    environment = Environment(
        loader=PackageLoader("finetune_trainer", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = chart.number
    data = read_json(folders.data_report)
    chosen = None if failure else _selection(run, folders)
    return environment.get_template(TEMPLATE).render(
        run=run,
        failure=failure,
        summary=_summary(metrics) | _exported(chosen),
        charts=[drawn for drawn in _charts(metrics) if drawn],
        size=chart,
        samples=side_by_side(metrics.samples(), None if chosen is None else chosen.step),
        data=_facts(data),
        sources=data.get("sources", []),
        files=[file | {"histogram": _histogram(file["histogram"])} for file in data.get("byFile", [])],
        examples=data.get("examples", []),
        configuration=dict(_flat(json.loads(run_file.read_text(encoding="utf-8")))),
        lineage=lineage(run, run_file, folders),
    )


def _charts(metrics: Metrics) -> Iterator[chart.Chart | None]:
    curve = metrics.curve
    by_source = {f"validation, {name}": points for name, points in metrics.curves("validationLossBySource")}
    losses: dict[str, Sequence[Point]] = {
        "training": curve("loss"),
        "validation": curve("validationLoss"),
        **by_source,
    }
    yield chart.draw_chart("Loss", losses)
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


def _summary(metrics: Metrics) -> dict[str, str]:
    """The figures at the top, those that are known."""
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
    }
    return {name: value for name, value in found.items() if value is not None}


def _selection(run: RunFile, folders: RunFolders) -> Selection | None:
    return selection(folders.checkpoints, run.training.select, run.training.validation.patience)


def _slowest(metrics: Metrics) -> str | None:
    """The rank that was waited for in most steps, and by how much in the middle one of these."""
    steps = list(zip(metrics.values("slowestRank"), metrics.values("slowdown"), strict=True))
    if not steps:
        return None
    (rank, times), *_ = Counter(rank for rank, _ in steps).most_common(1)
    slowdown = median(slowdown for slowest, slowdown in steps if slowest == rank)
    return f"{rank:.0f} in {times / len(steps):.0%} of the steps, {slowdown:.2f} times one in the middle"


def _exported(chosen: Selection | None) -> dict[str, str]:
    """The step that became the adapter, and why; nothing of a run that has none yet."""
    return {"exported step": str(chosen).removeprefix("step ")} if chosen else {}


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _facts(content: dict[str, Any]) -> dict[str, Any]:
    with_a_place_of_their_own = ("schemaVersion", "sources", "byFile", "examples")
    return {name: value for name, value in _flat(content) if name not in with_a_place_of_their_own}


def _histogram(documents: dict[str, int]) -> str:
    return ", ".join(f"{count:,} to {int(bound):,}" for bound, count in documents.items())


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted paths and what they hold."""
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, int):
        return f"{value:,}"
    return chart.number(value) if isinstance(value, float) else str(value)
