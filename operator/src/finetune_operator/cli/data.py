"""`finetune data`: what would train, seen before it is paid for."""

import sys
from pathlib import Path

import click
from rich.console import Console

from finetune_operator.api.validation import load_manifests
from finetune_operator.cli.data_tables import (
    epoch_line,
    examples_text,
    files_table,
    histogram_table,
    source_names,
    sources_table,
)
from finetune_operator.cli.options import files_option, namespace_option, storage_option
from finetune_operator.core.config import Config
from finetune_operator.local.data_report import NoReport, read_data_report
from finetune_operator.local.environments import Environments


@click.command()
@files_option
@namespace_option
@storage_option
def data(files: tuple[Path, ...], namespace: str, storage: Path) -> None:
    """Show what jobs would train on: rows, tokens, what is cut or dropped and why, an epoch in steps, and
    three conversations with what trains marked.

    The dataset is tokenized as the prepare stage does it, with the base's own tokenizer and template; no
    weights are fetched, and nothing is trained.
    """
    jobs = [m for m in load_manifests(files, namespace) if m["kind"] == "FineTuneJob"]
    if not jobs:
        raise click.UsageError(f"{', '.join(map(str, files))}: holds no FineTuneJob")
    images = Config().images
    trainer = Environments.find(images).of(images.trainer)
    trainer.check()
    console, code = Console(highlight=False, soft_wrap=True), 0
    for job in jobs:
        name = f"FineTuneJob {job['metadata']['namespace']}/{job['metadata']['name']}"
        try:
            report = read_data_report(job, storage.absolute(), trainer)
        except NoReport as refused:
            click.echo(f"error: {name}: {refused.termination.sentence}", err=True)
            code = code or refused.termination.exit_code
            continue
        console.print(f"{name}: {source_names(report)}", markup=False)
        if len(report["sources"]) > 1:
            console.print(sources_table(report))
        console.print(files_table(report))
        console.print(histogram_table(report))
        console.print(epoch_line(report), markup=False)
        for text in examples_text(report, coloured=console.color_system is not None):
            console.print()
            console.print(text)
    sys.exit(code)
