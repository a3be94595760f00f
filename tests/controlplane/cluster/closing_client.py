"""A client of the API server that leaves no connection open."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubernetes import client, config


@contextmanager
def closing_client(kubeconfig: Path) -> Iterator[client.ApiClient]:
    """Leaving an ApiClient ends its threads only; a connection it kept warns when it is collected."""
    with config.new_client_from_config(str(kubeconfig)) as api:
        try:
            yield api
        finally:
            api.rest_client.pool_manager.clear()
