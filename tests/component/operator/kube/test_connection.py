"""One login lets in the client and kopf's session; here a kubeconfig's exec plugin gives the token."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from aiohttp import web

from finetune_operator.core.objects import Ref
from finetune_operator.kube.api_server import ApiServer
from finetune_operator.kube.connection import connected

CREDENTIAL = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "kind": "ExecCredential",
    "status": {"token": "of-the-plugin"},
}
SERVICE = Ref(api_version="v1", kind="Service", namespace="default", name="faq")


def kubeconfig(server: str) -> str:
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", f"print({json.dumps(json.dumps(CREDENTIAL))})"],
        "interactiveMode": "Never",
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "clusters": [{"name": "here", "cluster": {"server": server}}],
            "users": [{"name": "me", "user": {"exec": plugin}}],
        }
    )


async def ask_twice(folder: Path) -> list[str]:
    """Ask by a session that is then closed, as kopf does, and by the client after it."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Authorization", ""))
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    (folder / "config").write_text(kubeconfig(f"http://{host}:{port}"))
    try:
        async with connected() as connection:
            async with connection.session() as session, session.get(f"{connection.server}/api") as answered:
                await answered.read()
            await ApiServer(connection.client).get(SERVICE)
    finally:
        await runner.cleanup()
    return asked


def test_all_are_let_in_by_one_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config")
    )
    assert [token.lower() for token in asyncio.run(ask_twice(tmp_path))] == ["bearer of-the-plugin"] * 2
