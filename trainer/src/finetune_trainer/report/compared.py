"""A finished run as another one is compared with it: what report.json and metrics.jsonl say."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from finetune_trainer.report.cost import cost
from finetune_trainer.report.curves import Metrics
from finetune_trainer.report.facts import flat
from finetune_trainer.report.figures import figures
from finetune_trainer.report.lineage import read_json
from finetune_trainer.report.material import Material

RECORD, METRICS = "report.json", "metrics.jsonl"


class NoRunError(ValueError):
    """A folder that holds no run with a report; the message names it."""


def record_of(material: Material) -> dict[str, Any]:
    """What report.json holds: the run file, and the figures of the page."""
    return {
        "schemaVersion": 1,
        "run": json.loads(material.run_file.read_text(encoding="utf-8")),
        "figures": figures(material),
        "cost": cost(material),
        "failure": material.failure,
    }


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One of the runs."""

    name: str
    figures: dict[str, str]
    """Of the page, its cost among them."""
    settings: dict[str, str]
    """The run file, by dotted path, without what only names the run."""
    metrics: Metrics

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises NoRunError."""
        record = read_json(folder / RECORD)
        if not record:
            raise NoRunError(f"{folder} has no {RECORD}: no run that has trained a step is there")
        run = record["run"]
        about = ("schemaVersion", "namespace", "name", "run", "paths")
        return cls(
            name=f"{run['name']} ({run['run']})",
            figures=record["figures"] | record["cost"],
            settings=dict(flat({name: value for name, value in run.items() if name not in about})),
            metrics=Metrics.read(folder / METRICS),
        )
