"""What kopf is told."""

import asyncio
import socket
from itertools import islice
from unittest.mock import AsyncMock, Mock

import kopf
import pytest

from finetune_operator import app
from finetune_operator.app import operator_settings


def test_a_watch_asks_every_second_for_as_long_as_the_api_server_is_away() -> None:
    backoffs = operator_settings(()).networking.error_backoffs
    assert not isinstance(backoffs, float)
    # kopf walks through them anew for each request.
    for _ in range(2):
        assert set(islice(iter(backoffs), 1000)) == {1.0}


def test_nobody_asks_for_the_name_of_a_user_that_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As 65532 has none in an image: kopf would make an identity of it."""
    spawned = AsyncMock(return_value=[])
    monkeypatch.setattr(kopf, "spawn_tasks", spawned)
    monkeypatch.setattr(kopf, "run_tasks", AsyncMock())

    async def watch() -> None:
        await app._kopf(Mock(namespaces=["team-a"]), Mock(), Mock(), (), Mock(), asyncio.Event())

    asyncio.run(watch())
    assert spawned.call_args.kwargs["identity"] == socket.gethostname()
