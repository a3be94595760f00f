"""`finetune delete`: forget an object; what it made in the volume stays."""

import click

from finetune_operator.cli.options import place_options
from finetune_operator.client.client import Client


@click.command()
@click.argument("name")
@place_options
def delete(name: str, client: Client) -> None:
    """Delete the job and the deployment of that NAME. Models and adapters in the volume stay."""
    for deleted in client.delete(name):
        click.echo(f"{deleted.kind} {deleted.namespace}/{deleted.name} deleted")
