"""`finetune logs`: what the pods of an object have written."""

import click

from finetune_operator.cli.options import place_options
from finetune_operator.client.client import Client
from finetune_operator.client.logs import STAGES


@click.command()
@click.argument("name")
@click.option("--stage", type=click.Choice(STAGES), help="Of one stage alone, or of the server.")
@click.option(
    "--tail", type=click.IntRange(min=1), help="So many last lines of each container. Default: all of them."
)
@click.option("-f", "--follow", is_flag=True, help="Go on until a job is done, or Ctrl-C.")
@place_options
def logs(name: str, stage: str | None, tail: int | None, follow: bool, client: Client) -> None:
    """Print what the pods of the job and the deployment of that NAME have written, each line with its pod."""
    for line in client.logs(name, stage=stage, tail=tail, follow=follow):
        click.echo(str(line))
