"""How weights are read: vLLM's own choice unasked, and what the spec says, once."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from serving_plans import READY, plan, server_of

from finetune_operator.api.deployment import LoadFormat, ModelDeployment

LOCKS = Path(__file__).parents[4] / "requirements"
PACKAGES = {
    "auto": "vllm",
    "safetensors": "vllm",
    "fastsafetensors": "fastsafetensors",
    "instanttensor": "instanttensor",
    "runai_streamer": "runai-model-streamer",
}


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


@pytest.mark.parametrize("load_format", get_args(LoadFormat))
def test_the_image_has_what_reads_so(load_format: str) -> None:
    """And that for CPUs has vLLM's own alone, which the API holds the field to."""
    package = PACKAGES[load_format]
    assert f"\n{package}==" in (LOCKS / "server-gpu.txt").read_text(encoding="utf-8")
    on_cpus = f"\n{package}==" in (LOCKS / "server-cpu.txt").read_text(encoding="utf-8")
    assert not on_cpus
