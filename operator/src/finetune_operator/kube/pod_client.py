"""Asks pods, which run what their users want: whatever one answers, or never ends to answer, is bounded."""

import asyncio
import logging
from ipaddress import ip_address

import httpx

_LOG = logging.getLogger(__name__)
# From the first packet to the last byte: a client's own timeouts begin anew with every byte that trickles in.
_TIMEOUT_SECONDS = 2


class PodClient:
    """Asks `at_once` of them at a time: so many that never answer hold up the others by one timeout."""

    def __init__(self, at_once: int) -> None:
        self._at_once = asyncio.Semaphore(at_once)
        # Pods are reached directly, never through a proxy.
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=0),
            headers={"Accept-Encoding": "identity"},
            trust_env=False,
        )

    async def get(self, address: str, port: int, path: str, *, most: int) -> bytes | None:
        """Return a body; None where nobody listens, yet or any more, or does not end in time.

        One of more than `most` bytes is cut after that: whoever reads it says so.
        """
        host = _host(address)
        if host is None:
            _LOG.debug("GET %s: no IP address: %r", path, address)
            return None
        async with self._at_once:
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    return await self._body(f"http://{host}:{port}{path}", most)
            except (httpx.HTTPError, TimeoutError):
                return None

    async def _body(self, url: str, most: int) -> bytes:
        """Return it as it was sent: what is packed may hold a thousand times as much."""
        body = bytearray()
        async with self._http.stream("GET", url) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > most:
                    break
        return bytes(body)


def _host(address: str) -> str | None:
    """Return an address as a URL has it; one of IPv6 stands in brackets (RFC 3986, 3.2.2)."""
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    return f"[{ip}]" if ip.version == 6 else str(ip)
