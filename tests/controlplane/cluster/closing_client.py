"""A client of the API server that leaves no connection open."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubernetes import client, config


@contextmanager
def closing_client(kubeconfig: Path) -> Iterator[client.ApiClient]:
    """Leaving an ApiClient lets go of its connections, and urllib3 closes those when they are collected."""
    with config.new_client_from_config(str(kubeconfig)) as api:
        try:
            yield api
        finally:
            pools = api.rest_client.pool_manager.pools
            for key in pools.keys():
                pools[key].close()
