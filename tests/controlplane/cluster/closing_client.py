"""A client of the API server that leaves no connection open."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.owned_tls import owned_tls
from kubernetes import client, config


@contextmanager
def closing_client(kubeconfig: Path) -> Iterator[client.ApiClient]:
    """urllib3 only lets go of connections, and leaves closing them to the garbage collection."""
    api = config.new_client_from_config(str(kubeconfig))
    with api, owned_tls(Path(api.configuration.ssl_ca_cert)) as context:
        api.rest_client.pool_manager.connection_pool_kw |= {"ssl_context": context, "ca_certs": None}
        yield api
        api.rest_client.pool_manager.clear()
