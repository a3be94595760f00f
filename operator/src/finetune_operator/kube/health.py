"""What the kubelet asks: whether the process answers at all, and whether it does its part."""

import asyncio
from collections.abc import Callable

from aiohttp import web


async def serve_health(port: int, is_ready: Callable[[], bool]) -> None:
    """Serve GET /healthz and GET /readyz, on every address of IPv4 and IPv6, until cancelled."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok") if is_ready() else web.Response(text="not ready", status=503)

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
