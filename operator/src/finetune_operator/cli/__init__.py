"""`finetune` and its commands. Also installed as kubectl-finetune."""

import sys

import click

from finetune_operator.api.errors import FinetuneError
from finetune_operator.cli.bench import bench
from finetune_operator.cli.chat import chat
from finetune_operator.cli.data import data
from finetune_operator.cli.delete import delete
from finetune_operator.cli.import_config import import_config
from finetune_operator.cli.logs import logs
from finetune_operator.cli.plan import plan
from finetune_operator.cli.report import report
from finetune_operator.cli.retry import retry
from finetune_operator.cli.run import run
from finetune_operator.cli.status import status
from finetune_operator.cli.validate import validate
from finetune_operator.cli.watch import watch


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="finetune-operator")
def finetune() -> None:
    """Fine-tune language models and serve them."""


finetune.add_command(run)
finetune.add_command(chat)
finetune.add_command(bench)
finetune.add_command(status)
finetune.add_command(watch)
finetune.add_command(delete)
finetune.add_command(retry)
finetune.add_command(logs)
finetune.add_command(report)
finetune.add_command(validate)
finetune.add_command(plan)
finetune.add_command(data)
finetune.add_command(import_config)


def main() -> None:
    """Run the command line; every mistake of a user's is one line, and exit code 2."""
    try:
        finetune()
    except FinetuneError as mistake:
        for problem in str(mistake).splitlines():
            click.echo(f"error: {problem}", err=True)
        sys.exit(2)
