"""How weights are read: vLLM's own choice unasked, and what the spec says, once."""

from collections.abc import Callable

import pytest
from serving_plans import READY, plan, server_of

from finetune_operator.api.deployment import ModelDeployment


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, [], id="unasked"),
        pytest.param({"loadFormat": "auto"}, [], id="vLLM's own"),
        pytest.param({"loadFormat": "instanttensor"}, ["instanttensor"], id="a reader"),
        pytest.param(
            {"engineArgs": ["--load-format", "sharded_state"]}, ["sharded_state"], id="one that has no field"
        ),
    ],
)
def test_the_server_is_told_once(
    deployment: Callable[..., ModelDeployment], spec: dict[str, object], expected: list[str]
) -> None:
    args = server_of(plan(deployment(**spec), READY))["args"]
    assert [args[i + 1] for i, word in enumerate(args) if word == "--load-format"] == expected
