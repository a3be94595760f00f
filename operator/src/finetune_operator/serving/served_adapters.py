"""The adapters of a server that runs: inside vLLM's API server, as an ASGI middleware of it (--middleware).

adapters.json beside this file, both keys of one ConfigMap, says which are wanted. They are loaded, replaced
and unloaded as it changes, by what the server itself tells that it has: nothing is remembered. vLLM's own
endpoints for that stay off, as they are open to every client of the API's port. The first requests wait for
the adapters that were wanted when the server started, and with them the probe that makes it ready.

GET /adapters tells which it has, and what was refused. Standard library and vLLM only.
"""

import asyncio
import json
import logging
import os
import re
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Scope = dict[str, Any]
Send = Callable[[Scope], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]

_LOG = logging.getLogger("vllm.finetune.adapters")
_WANTED = Path(__file__).parent / "adapters.json"
_ROOT = Path(os.environ.get("ADAPTERS_ROOT", "/"))
_PERIOD_SECONDS = 2.0
# What was refused is tried again: its folder may come later, or be mended.
_REFUSED_PERIODS = 15
# MLA's decode reads kv_b_proj's weight as it was loaded: LoRA's part is left out (vllm issue 48974).
_LEFT_OUT = re.compile(r".+\.(kv_b_proj)\.lora_[AB]\b.*")
_HEADER_BYTES = 100 * 2**20


class ServedAdapters:
    """Around the whole application: what comes in goes through, but for GET /adapters."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._follows: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._models: Any = None
        self._refused: dict[str, tuple[str, str]] = {}

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._follows is None:
            self._models = scope["app"].state.openai_serving_models
            self._follows = asyncio.create_task(self._follow())
        if scope["path"] == "/adapters" and scope["method"] == "GET":
            await _answer(send, await self._told())
            return
        if scope["path"].startswith("/v1/"):
            await self._tried.wait()
        await self._app(scope, receive, send)

    async def _follow(self) -> None:
        period = 0
        while True:
            try:
                await self._bring(again=period % _REFUSED_PERIODS == 0)
            except Exception:  # the next period tries again; requests go on
                _LOG.exception("adapters")
            self._tried.set()
            period += 1
            await asyncio.sleep(_PERIOD_SECONDS)

    async def _bring(self, *, again: bool) -> None:
        """Have what is wanted: unload what is not, load what is not there or is at another path.

        again: what was refused too.
        """
        wanted = {each["name"]: each["path"] for each in json.loads(_WANTED.read_text())}
        there = await self._there()
        for name in there.keys() - wanted.keys():
            await self._unload(name)
        self._refused = {name: (path, why) for name, (path, why) in self._refused.items() if name in wanted}
        for name, path in wanted.items():
            was_refused = self._refused.get(name, ("",))[0] == path
            if there.get(name) != path and (again or not was_refused):
                await self._load(name, path)

    async def _there(self) -> dict[str, str]:
        """Return the adapters of the server, by its own list: name and path below the volume's root."""
        listed = await self._models.show_available_models()
        cards = (card for card in listed.data if card.parent is not None)
        return {card.id: os.path.relpath(card.root, _ROOT) for card in cards}

    async def _load(self, name: str, path: str) -> None:
        from vllm.entrypoints.serve.lora.protocol import LoadLoRAAdapterRequest

        folder = _ROOT / path
        refusal = await asyncio.to_thread(_refusal, folder)
        if not refusal:
            # In place of the one of its name, if there is one.
            request = LoadLoRAAdapterRequest(lora_name=name, lora_path=str(folder), load_inplace=True)
            done = await self._models.load_lora_adapter(request)
            refusal = "" if isinstance(done, str) else str(done.error.message)
        self._refused.pop(name, None)
        if refusal:
            _LOG.error("adapter %s of %s is refused: %s", name, path, refusal)
            self._refused[name] = (path, refusal)

    async def _unload(self, name: str) -> None:
        from vllm.entrypoints.serve.lora.protocol import UnloadLoRAAdapterRequest

        await self._models.unload_lora_adapter(UnloadLoRAAdapterRequest(lora_name=name))

    async def _told(self) -> dict[str, Any]:
        return {
            "adapters": [{"name": name, "path": path} for name, path in (await self._there()).items()],
            "refused": [
                {"name": name, "path": path, "message": why[:1024]}
                for name, (path, why) in self._refused.items()
            ],
        }


def _refusal(folder: Path) -> str:
    """Return why an adapter is not to be served, before vLLM reads it; empty when it may be."""
    file = folder / "adapter_model.safetensors"
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            names = json.loads(opened.read(length)) if length <= _HEADER_BYTES else {}
    except (OSError, struct.error, ValueError) as error:
        return f"{file.name} cannot be read: {error}"
    left_out = next((found for name in names if (found := _LEFT_OUT.fullmatch(name))), None)
    if left_out is None:
        return ""
    return (
        f"tensor {left_out[0]!r}: vLLM applies no LoRA to {left_out[1]}: serve the merged model, or train "
        "lora.targets [served_attention]"
    )


async def _answer(send: Send, told: dict[str, Any]) -> None:
    body = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
