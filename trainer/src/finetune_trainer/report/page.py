"""The page: each section's values put into its template, and those into page.html.jinja."""

import logging
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.contract.whole_file import write_json, write_text
from finetune_trainer.report.compared import record_of
from finetune_trainer.report.material import Material
from finetune_trainer.report.sections import SECTIONS

logger = logging.getLogger(__name__)


def write_report(run: RunFile, run_file: Path, folders: RunFolders, *, failure: str | None) -> None:
    """Write the run's report.html, if it has trained a step; it appears whole or not at all.

    failure: why the run ended before its last step. What goes wrong here is logged: it must not hide how
    the training ended.
    """
    try:
        material = Material.read(run, run_file, folders, failure=failure)
        if material.metrics.curve("loss"):
            write_text(folders.report, render(material))
            write_json(folders.report.with_suffix(".json"), record_of(material))
    except Exception:
        logger.warning("%s is not written", folders.report, exc_info=True)


def render(material: Material) -> str:
    """The page's HTML. Everything that comes from files is escaped."""
    run = material.run
    sections = [(section.template, section.read(material)) for section in SECTIONS]
    return render_page(
        f"{run.namespace}/{run.name}",
        f"run {run.run} of {run.flavor} from {run.model.uri}",
        [(template, values) for template, values in sections if values],
        material.failure,
    )


def render_page(
    title: str, subtitle: str, sections: list[tuple[str, Any]], failure: str | None = None
) -> str:
    """A page of templates, each with its values."""
    environment = Environment(
        loader=PackageLoader("finetune_trainer.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    parts = [Markup(environment.get_template(name).render(**values)) for name, values in sections]
    page = environment.get_template("page.html.jinja")
    return page.render(title=title, subtitle=subtitle, sections=parts, failure=failure)
