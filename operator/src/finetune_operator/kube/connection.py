"""The one login of the process, and the one pool of connections to the API server, which kopf shares."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration


@dataclass(frozen=True, kw_only=True)
class Connection:
    """To one API server, as one user."""

    configuration: Configuration
    client: ApiClient
    connector: aiohttp.TCPConnector

    @property
    def server(self) -> str:
        """Return the API server's address."""
        return str(self.configuration.host)

    def session(self) -> aiohttp.ClientSession:
        """Return a session that says who asks, on the pool's connections: these outlast it."""
        return aiohttp.ClientSession(
            connector=self.connector,
            connector_owner=False,
            middlewares=(self._authorized,),
            proxy=self.configuration.proxy,
        )

    async def _authorized(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # Asked for each time: a service account's token is another one every hour.
        if token := await self.configuration.get_api_key_with_prefix("BearerToken"):
            request.headers["Authorization"] = token
        return await send(request)


@asynccontextmanager
async def connected() -> AsyncIterator[Connection]:
    """Log in as the pod's service account, or as the kubeconfig says."""
    await _log_in()
    configuration = Configuration.get_default_copy()
    client = ApiClient(configuration)
    # Without a limit: each watch keeps a connection, and there is one a kind and namespace.
    connector = aiohttp.TCPConnector(limit=0, ssl=client.rest_client.ssl_context)
    # trust_env: aiohttp would look for proxies and for ~/.netrc at each request.
    configuration.client_session_kwargs = {"connector": connector, "trust_env": False}
    try:
        yield Connection(configuration=configuration, client=client, connector=connector)
    finally:
        await client.close()  # type: ignore[no-untyped-call]
        await connector.close()


async def _log_in() -> None:
    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
    except config.ConfigException:
        await config.load_kube_config()  # type: ignore[no-untyped-call]
