"""`finetune status`: conditions and progress of an object."""

from pathlib import Path

import click
from rich.console import Console

from finetune_operator.cli.lookup import find_parents
from finetune_operator.cli.options import namespace_option, storage_option
from finetune_operator.cli.progress_table import conditions_table, progress_table
from finetune_operator.local.layout import Layout
from finetune_operator.local.lock import is_held


@click.command()
@click.argument("name")
@namespace_option
@storage_option
def status(name: str, namespace: str, storage: Path) -> None:
    """Print the conditions and the progress of the job and the deployment of that NAME."""
    layout = Layout(storage=storage.absolute())
    console = Console(highlight=False, soft_wrap=True)
    parents = find_parents(layout, namespace, name)
    console.print(progress_table(parents))
    for parent in parents:
        console.print()
        console.print(f"{parent['kind']} {namespace}/{name}", markup=False)
        console.print(conditions_table(parent))
    if not is_held(layout.lock):
        console.print("\nNothing runs here now: start it with `finetune run -f FILE`.", markup=False)
