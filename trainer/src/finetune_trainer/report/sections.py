"""The page's sections, in their order. Each reads the run's files and fills a template of templates/.

One more section is a reader and its template, and its line of SECTIONS.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from finetune_trainer.report import chart
from finetune_trainer.report.charts import charts
from finetune_trainer.report.cost import cost
from finetune_trainer.report.data import data
from finetune_trainer.report.facts import flat
from finetune_trainer.report.figures import figures
from finetune_trainer.report.lineage import lineage
from finetune_trainer.report.material import Material
from finetune_trainer.report.memory import memory
from finetune_trainer.report.samples import side_by_side

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; one without values is left out."""

    template: str
    read: Callable[[Material], Values]


def _figures(material: Material) -> Values:
    return {"figures": figures(material)}


def _charts(material: Material) -> Values:
    return {"charts": charts(material), "size": chart}


def _samples(material: Material) -> Values:
    exported = None if material.chosen is None else material.chosen.step
    samples = side_by_side(material.metrics.samples(), exported)
    return {"samples": samples} if samples else {}


def _evaluation(_material: Material) -> Values:
    """The place for what the evaluation stage finds later: it fills it in the finished page."""
    return {"marker": "evaluation"}


def _cost(material: Material) -> Values:
    return {"cost": found} if (found := cost(material)) else {}


def _examples(material: Material) -> Values:
    return {"examples": found} if (found := material.data.get("examples")) else {}


def _lineage(material: Material) -> Values:
    facts = lineage(material.run, material.run_file, material.folders)
    return {"title": "Lineage", "facts": facts}


def _configuration(material: Material) -> Values:
    written = json.loads(material.run_file.read_text(encoding="utf-8"))
    return {"title": "Configuration", "facts": dict(flat(written))}


SECTIONS = (
    Section(template="figures.html.jinja", read=_figures),
    Section(template="charts.html.jinja", read=_charts),
    Section(template="samples.html.jinja", read=_samples),
    Section(template="evaluation.html.jinja", read=_evaluation),
    Section(template="cost.html.jinja", read=_cost),
    Section(template="memory.html.jinja", read=memory),
    Section(template="data.html.jinja", read=data),
    Section(template="examples.html.jinja", read=_examples),
    Section(template="facts.html.jinja", read=_lineage),
    Section(template="facts.html.jinja", read=_configuration),
)
