"""Progress and conditions of objects, as rows and as lines."""

from datetime import timedelta

from rich.table import Table

from finetune_operator.core.objects import Manifest

WORTH_TELLING = 1.1
"""Ranks of one machine differ by some per cent."""


def progress_table(parents: list[Manifest]) -> Table:
    """Return one row per object: where it is, and how far."""
    table = Table(box=None, pad_edge=False)
    for column in ("KIND", "NAME", "PHASE"):
        table.add_column(column)
    for column in ("STEP", "LOSS", "VALIDATION", "TOKENS/S", "ETA"):
        table.add_column(column, justify="right")
    table.add_column("UNEVEN")
    table.add_column("ENDPOINT")
    for parent in parents:
        status = parent.get("status", {})
        table.add_row(
            parent["kind"],
            parent["metadata"]["name"],
            status.get("phase", ""),
            *progress_cells(status.get("progress", {})),
            ", ".join(unevenness(status.get("progress", {}))),
            status.get("endpoint", ""),
        )
    return table


def progress_cells(progress: Manifest) -> tuple[str, str, str, str, str]:
    """Return step, losses, tokens a second and time left, each as text; empty where unknown."""
    step, total = progress.get("step"), progress.get("totalSteps")
    validation = progress.get("validationLoss")
    loss, rate, eta = progress.get("loss"), progress.get("tokensPerSecond"), progress.get("etaSeconds")
    return (
        _gigabytes(progress) if step is None else f"{step}/{total}" if total else str(step),
        "" if loss is None else f"{loss:.4f}",
        "" if validation is None else f"{validation:.4f}",
        "" if rate is None else f"{rate:,.0f}",
        "" if eta is None else str(timedelta(seconds=round(eta))),
    )


def _gigabytes(progress: Manifest) -> str:
    """Return how much of the base is fetched or loaded; empty where unknown."""
    done, total = progress.get("bytesDone"), progress.get("bytesTotal")
    return f"{done / 1e9:.1f}/{total / 1e9:.1f} GB" if done is not None and total else ""


def progress_line(parent: Manifest) -> str:
    """Return one line of progress; empty where there is none."""
    progress = parent.get("status", {}).get("progress")
    if not progress:
        return ""
    labels = ("step", "loss", "validation loss", "tokens/s", "ETA")
    cells = zip(labels, progress_cells(progress), strict=True)
    told = [f"{label} {cell}" for label, cell in cells if cell]
    facts = ", ".join([*told, *rewards(progress), *unevenness(progress)])
    stage = progress.get("stage", "")
    return f"{parent['kind']} {parent['metadata']['name']}: {stage}: {facts}" if facts else ""


def sample_lines(parent: Manifest) -> list[str]:
    """Return the newest answers to a job's prompts, a line each; none where it has none."""
    progress = parent.get("status", {}).get("progress", {})
    step = progress.get("samplesStep")
    when = "before training" if step == 0 else f"step {step}"
    name = f"{parent['kind']} {parent['metadata']['name']}"
    return [
        f"{name}: {when}: {_line(sample['prompt'])} -> {_line(sample['text'])}"
        for sample in progress.get("samples", [])
    ]


def _line(text: str) -> str:
    return " ".join(text.split())


def rewards(progress: Manifest) -> list[str]:
    """Return what preference pairs come to, where there are any."""
    accuracy, margin = progress.get("rewardAccuracy"), progress.get("rewardMargin")
    if accuracy is None or margin is None:
        return []
    return [f"pairs right {accuracy:.0%}", f"reward margin {margin:.3f}"]


def unevenness(progress: Manifest) -> list[str]:
    """Return what ranks wait for, where it is by more than a tenth: an expert's tokens, a slow rank."""
    expert, ranks = progress.get("expertLoad", 1), progress.get("expertRankLoad", 1)
    slowdown, slowest = progress.get("slowdown", 1), progress.get("slowestRank")
    facts = {
        f"fullest expert {expert:.1f} x": expert,
        f"fullest rank {ranks:.2f} x": ranks,
        f"slowest rank {slowest} by {slowdown:.2f} x": slowdown,
    }
    return [fact for fact, ratio in facts.items() if ratio > WORTH_TELLING]


def conditions_table(parent: Manifest) -> Table:
    """Return one row per condition."""
    table = Table(box=None, pad_edge=False)
    table.add_column("CONDITION")
    table.add_column("STATUS")
    table.add_column("REASON")
    table.add_column("MESSAGE", overflow="fold")
    for condition in parent.get("status", {}).get("conditions", []):
        table.add_row(condition["type"], condition["status"], condition["reason"], condition["message"])
    return table
