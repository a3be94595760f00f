"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

DEFAULT_STORAGE = Path(".finetune")

storage_option: Decorator = click.option(
    "--storage",
    envvar="FINETUNE_STORAGE",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_STORAGE,
    show_default=True,
    show_envvar=True,
    help="The folder that stands for the volume; status/ and logs/ are in it too.",
)
namespace_option: Decorator = click.option(
    "-n", "--namespace", default="default", show_default=True, help="The object's namespace."
)
files_option: Decorator = click.option(
    "-f",
    "--filename",
    "files",
    required=True,
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of manifests (YAML, several documents allowed). May be repeated.",
)
