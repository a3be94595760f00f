"""`finetune validate`: names every wrong field."""

from pathlib import Path

import click

from finetune_operator.api.suggestions import suggestions
from finetune_operator.api.validation import load_manifests
from finetune_operator.cli.options import files_option, namespace_option


@click.command()
@files_option
@namespace_option
def validate(files: tuple[Path, ...], namespace: str) -> None:
    """Check manifests without running them: every wrong field, where it is, and what to do."""
    for manifest in load_manifests(files, namespace):
        metadata = manifest["metadata"]
        name = f"{manifest['kind']} {metadata['namespace']}/{metadata['name']}"
        click.echo(f"{name}: valid")
        for suggestion in suggestions(manifest):
            click.echo(f"{name}: {suggestion}")
