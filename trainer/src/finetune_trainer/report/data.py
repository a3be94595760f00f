"""The dataset: sources, files, and how long its documents are."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from finetune_trainer.report import chart
from finetune_trainer.report.facts import flat
from finetune_trainer.report.material import Material

WITH_A_PLACE_OF_THEIR_OWN = ("schemaVersion", "sources", "byFile", "examples")


def data(material: Material) -> Mapping[str, Any]:
    """What the data report says."""
    report = material.data
    facts = {name: value for name, value in report.items() if name not in WITH_A_PLACE_OF_THEIR_OWN}
    files = report.get("byFile", [])
    return {
        "facts": dict(flat(facts)),
        "sources": report.get("sources", []),
        "files": files,
        "histogram": chart.draw_bars("Documents by their tokens", histogram(files)),
        "size": chart,
    }


def histogram(files: list[dict[str, Any]]) -> dict[str, int]:
    """Documents of all files by the most tokens that they have, in order."""
    found: Counter[int] = Counter()
    for file in files:
        found.update({int(bound): count for bound, count in file["histogram"].items()})
    return {f"to {bound:,}": found[bound] for bound in sorted(found)}
