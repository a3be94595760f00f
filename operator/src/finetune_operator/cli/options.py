"""Options that several commands share."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from finetune_operator.client.client import Client

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


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add options that say where objects are, and give the command a `client` of that."""

    @click.option("-n", "--namespace", help="The object's namespace. Default: the context's, or default.")
    @click.option("--context", help="A context of the kubeconfig: look in that cluster.")
    @click.option(
        "--storage",
        envvar="FINETUNE_STORAGE",
        type=click.Path(file_okay=False, path_type=Path),
        show_envvar=True,
        help=f"A folder of `finetune run`: look there. Default: {DEFAULT_STORAGE} where there is one and no "
        "context is given, else the cluster.",
    )
    @wraps(command)
    def with_place(
        *arguments: Any, namespace: str | None, context: str | None, storage: Path | None, **options: Any
    ) -> Any:
        # A command that is given an address looks for no place.
        client = None if options.get("url") else _client(namespace, context, storage)
        return command(*arguments, client=client, **options)

    return with_place


def _client(namespace: str | None, context: str | None, storage: Path | None) -> Client:
    """Return the client that the options name; a plugin of kubectl looks for no folder of its own accord."""
    is_plugin = click.get_current_context().find_root().info_name == "kubectl-finetune"
    if storage is None and context is None and DEFAULT_STORAGE.is_dir() and not is_plugin:
        storage = DEFAULT_STORAGE
    return Client(storage=None if context else storage, context=context, namespace=namespace)
