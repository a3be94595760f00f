"""`finetune status`: conditions and progress of an object."""

import click
from rich.console import Console

from finetune_operator.cli.options import place_options
from finetune_operator.cli.progress_table import conditions_table, progress_table
from finetune_operator.client.client import Client


@click.command()
@click.argument("name")
@place_options
def status(name: str, client: Client) -> None:
    """Print the conditions and the progress of the job and the deployment of that NAME."""
    console = Console(highlight=False, soft_wrap=True)
    place = client.place
    parents = place.find(name)
    console.print(progress_table(parents))
    for parent in parents:
        console.print()
        console.print(f"{parent['kind']} {parent['metadata']['namespace']}/{name}", markup=False)
        console.print(conditions_table(parent))
        for tracker, where in parent.get("status", {}).get("tracking", {}).items():
            console.print(f"\n{tracker}: {where}", markup=False)
        if remark := place.remark(parent):
            console.print(f"\nwarning: {remark}.", markup=False)
    if note := place.note():
        console.print(f"\n{note}", markup=False)
