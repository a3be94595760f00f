"""`finetune delete`: forget an object; what it made in the volume stays."""

import click

from finetune_operator.cli.options import place_options
from finetune_operator.cli.place import Place


@click.command()
@click.argument("name")
@place_options
def delete(name: str, place: Place) -> None:
    """Delete the job and the deployment of that NAME. Models and adapters in the volume stay."""
    for parent in place.find(name):
        place.delete(parent)
        click.echo(f"{parent['kind']} {parent['metadata']['namespace']}/{name} deleted")
