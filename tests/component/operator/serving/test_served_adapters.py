"""The middleware that loads adapters, around an application that has vLLM's object for them."""

import asyncio
import json
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from finetune_operator.serving import served_adapters
from finetune_operator.serving.served_adapters import ServedAdapters
from finetune_operator.serving.server_adapters import ServerAdapters, parse_adapters


class Models:
    """As vLLM's OpenAIServingModels: its list, and what it was asked."""

    def __init__(self) -> None:
        self.cards = {"base": SimpleNamespace(id="base", root="/models/base", parent=None)}
        self.asked: list[str] = []
        self.refuses = ""

    async def show_available_models(self) -> Any:
        return SimpleNamespace(data=list(self.cards.values()))

    async def load_lora_adapter(self, request: Any) -> Any:
        assert request.load_inplace
        self.asked.append(f"load {request.lora_name}")
        if self.refuses:
            return SimpleNamespace(error=SimpleNamespace(message=self.refuses))
        card = SimpleNamespace(id=request.lora_name, root=request.lora_path, parent="base")
        self.cards[request.lora_name] = card
        return "Success"

    async def unload_lora_adapter(self, request: Any) -> str:
        self.asked.append(f"unload {request.lora_name}")
        del self.cards[request.lora_name]
        return "Success"


class Server:
    """An application with the middleware around it, asked as clients do."""

    def __init__(self, folder: Path) -> None:
        self.models, self.folder = Models(), folder
        self.app = SimpleNamespace(state=SimpleNamespace(openai_serving_models=self.models))
        self.around = ServedAdapters(self._answer)

    async def _answer(self, _scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.body", "body": b"generated"})

    async def get(self, path: str) -> bytes:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "app": self.app, "path": path, "method": "GET"}
        await self.around(scope, None, send)
        return b"".join(message.get("body", b"") for message in sent)

    def want(self, **paths: str) -> None:
        wanted = [{"name": name, "path": path} for name, path in paths.items()]
        (self.folder / "adapters.json").write_text(json.dumps(wanted))

    async def until(self, told: Callable[[ServerAdapters], bool]) -> ServerAdapters:
        while not told(answer := parse_adapters(await self.get("/adapters"))):
            await asyncio.sleep(0.01)
        return answer


def adapter(folder: Path, path: str, tensor: str = "layers.0.q_proj.lora_A.weight") -> None:
    header = json.dumps({tensor: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}).encode()
    (folder / path).mkdir(parents=True)
    (folder / path / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    protocol: Any = ModuleType("protocol")
    protocol.LoadLoRAAdapterRequest = protocol.UnloadLoRAAdapterRequest = SimpleNamespace
    monkeypatch.setitem(sys.modules, "vllm.entrypoints.serve.lora.protocol", protocol)
    monkeypatch.setattr(served_adapters, "_WANTED", tmp_path / "adapters.json")
    monkeypatch.setattr(served_adapters, "_ROOT", tmp_path)
    monkeypatch.setattr(served_adapters, "_PERIOD_SECONDS", 0.01)
    for path in ("one", "two"):
        adapter(tmp_path, path)
    return Server(tmp_path)


def test_added_replaced_and_removed(server: Server) -> None:
    async def life() -> None:
        server.want(tone="one")
        await server.until(lambda told: told.paths == {"tone": "one"})
        server.want(tone="two", terms="one")
        await server.until(lambda told: told.paths == {"tone": "two", "terms": "one"})
        server.want(terms="one")
        await server.until(lambda told: told.paths == {"terms": "one"})

    asyncio.run(life())
    assert server.models.asked == ["load tone", "load tone", "load terms", "unload tone"]


def test_the_first_request_waits_for_the_adapters(server: Server) -> None:
    async def first() -> bytes:
        server.want(tone="one")
        return await server.get("/v1/completions")

    assert asyncio.run(first()) == b"generated"
    assert server.models.asked == ["load tone"]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        pytest.param("mla", "vLLM applies no LoRA to kv_b_proj", id="what vLLM leaves out"),
        pytest.param("nowhere", "cannot be read", id="no folder"),
        pytest.param("one", "rank 64 is greater", id="what vLLM refuses"),
    ],
)
def test_what_is_refused_is_told_and_the_server_goes_on(server: Server, wanted: str, why: str) -> None:
    adapter(server.folder, "mla", "model.layers.0.self_attn.kv_b_proj.lora_A.weight")
    server.models.refuses = "rank 64 is greater than max_lora_rank 16"

    async def life() -> tuple[ServerAdapters, bytes]:
        server.want(tone=wanted)
        return await server.until(lambda told: "tone" in told.refused), await server.get("/v1/completions")

    told, answer = asyncio.run(life())
    assert why in told.refused["tone"]
    assert (dict(told.paths), answer) == ({}, b"generated")


def test_what_was_refused_is_tried_again(server: Server) -> None:
    server.models.refuses = "busy"

    async def life() -> None:
        server.want(tone="one")
        await server.until(lambda told: "tone" in told.refused)
        server.models.refuses = ""
        await server.until(lambda told: told.paths == {"tone": "one"} and not told.refused)

    asyncio.run(life())


def test_a_file_that_is_broken_ends_nothing(server: Server) -> None:
    async def life() -> bytes:
        (server.folder / "adapters.json").write_text("[")
        answer = await server.get("/v1/completions")
        server.want(tone="one")
        await server.until(lambda told: told.paths == {"tone": "one"})
        return answer

    assert asyncio.run(life()) == b"generated"
