"""`finetune run`: the local engine."""

import sys
from pathlib import Path

import click

from finetune_operator.api.validation import load_manifests
from finetune_operator.cli.options import files_option, namespace_option, storage_option
from finetune_operator.cli.run_here import run_here
from finetune_operator.local.layout import Layout


@click.command()
@files_option
@namespace_option
@storage_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(files: tuple[Path, ...], namespace: str, storage: Path, command: tuple[str, ...]) -> None:
    """Run manifests on this machine, each stage as a process.

    Jobs run to their end; deployments serve until Ctrl-C. What was stopped goes on where it was when it is
    run again. With a COMMAND after `--`, that is run once everything is ready; then everything is stopped,
    and the command's exit code is the result:

        finetune run -f job.yaml -- finetune chat faq --question "How do I suspend a job?"
    """
    manifests = load_manifests(files, namespace)
    sys.exit(run_here(Layout(storage=storage.absolute()), manifests, command))
