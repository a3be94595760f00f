"""How long a parent waits after a failure: seconds while the API server is away, longer when it refuses."""

import pytest
from aiohttp import ClientConnectionError, ServerDisconnectedError
from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.kube.workers import is_away


@pytest.mark.parametrize(
    ("error", "away"),
    [
        pytest.param(ConnectionRefusedError(), True, id="refused"),
        pytest.param(ServerDisconnectedError(), True, id="disconnected"),
        pytest.param(ClientConnectionError(), True, id="connection"),
        pytest.param(TimeoutError(), True, id="timeout"),
        pytest.param(ApiException(status=503), True, id="starting"),
        pytest.param(ApiException(status=0), True, id="tls"),
        pytest.param(ApiException(status=409), False, id="conflict"),
        pytest.param(ApiException(status=422), False, id="invalid"),
        pytest.param(KeyError("x"), False, id="defect"),
    ],
)
def test_only_a_server_that_cannot_be_reached_is_away(error: Exception, away: bool) -> None:
    assert is_away(error) is away
