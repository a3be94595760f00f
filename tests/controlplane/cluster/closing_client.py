"""A client of the API server that leaves no connection open."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubernetes import client, config
from urllib3 import HTTPConnectionPool


@contextmanager
def closing_client(kubeconfig: Path) -> Iterator[client.ApiClient]:
    """urllib3 only lets go of connections, and leaves closing them to the garbage collection."""
    with config.new_client_from_config(str(kubeconfig)) as api:
        api.rest_client.pool_manager.pools.dispose_func = HTTPConnectionPool.close
        try:
            yield api
        finally:
            api.rest_client.pool_manager.clear()
