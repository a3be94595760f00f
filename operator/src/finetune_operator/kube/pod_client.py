"""Asks pods, which run what their users want: whatever one answers, or never ends to answer, is bounded."""

import asyncio
import logging
from ipaddress import ip_address

import aiohttp

_LOG = logging.getLogger(__name__)
# From the first packet to the last byte: a limit between two would begin anew with every byte that comes.
_TIMEOUT_SECONDS = 2


class PodClient:
    """Asks `at_once` of them at a time: so many that never answer hold up the others by one timeout."""

    def __init__(self, at_once: int) -> None:
        self._at_once = asyncio.Semaphore(at_once)

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
                async with asyncio.timeout(_TIMEOUT_SECONDS), _session() as session:
                    return await _body(session, f"http://{host}:{port}{path}", most)
            except (aiohttp.ClientError, TimeoutError):
                return None


def _session() -> aiohttp.ClientSession:
    """Return one for one question: pods are reached directly, and none is told what another has said."""
    return aiohttp.ClientSession(
        headers={"Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
    )


async def _body(session: aiohttp.ClientSession, url: str, most: int) -> bytes | None:
    """Return it as it was sent: what is packed may hold a thousand times as much."""
    body = bytearray()
    # A redirection could send us anywhere.
    async with session.get(url, allow_redirects=False) as answer:
        if not 200 <= answer.status <= 299:
            return None
        async for chunk in answer.content.iter_any():
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
