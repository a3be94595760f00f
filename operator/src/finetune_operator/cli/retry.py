"""`finetune retry`: let a job that failed try again."""

import sys

import click

from finetune_operator.cli.options import place_options
from finetune_operator.cli.run_here import run_here
from finetune_operator.client.client import Client
from finetune_operator.client.storage_folder import StorageFolder, as_given


@click.command()
@click.argument("name")
@place_options
def retry(name: str, client: Client) -> None:
    """Try the failed job of that NAME again, from the stage that failed, with all its restarts anew.

    What the stages before did is kept, and training resumes from its newest checkpoint. On a cluster the
    operator goes on; on this machine the command runs the job, as `finetune run` does.
    """
    if isinstance(client.place, StorageFolder):
        sys.exit(run_here(client.place.layout, [as_given(client.failed_job(name))]))
    stage = client.retry(name)
    click.echo(f"The {stage} stage of FineTuneJob {name} is tried again: `finetune watch {name}` shows how")
