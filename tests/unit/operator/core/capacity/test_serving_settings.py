"""How a server will be run, as `finetune plan` says it."""

from typing import Any

import pytest

from finetune_operator.api.deployment import ModelDeploymentSpec
from finetune_operator.core.capacity.architecture import DEEPSEEK_V2_LITE, DEEPSEEK_V3, Architecture, Weights
from finetune_operator.core.capacity.serving_settings import serving_settings
from finetune_operator.core.config import Config

DRAFT = '{"method": "mtp", "num_speculative_tokens": 1}'


def settings(model: Architecture = DEEPSEEK_V3, **spec: Any) -> dict[str, str]:
    given = {"model": {"fineTuneJobRef": {"name": "faq"}}, "maxModelLen": 32768, **spec}
    weights = Weights(model=model, dtype=model.dtype)
    told = serving_settings(ModelDeploymentSpec.model_validate(given), weights, Config())
    return {setting.name: setting.value for setting in told}


@pytest.mark.parametrize(
    ("spec", "name", "value"),
    [
        pytest.param({"tensorParallelSize": 8}, "parallelism", "tensor 8", id="divided by heads"),
        pytest.param({"dataParallelSize": 8}, "parallelism", "data 8", id="divided by requests"),
        pytest.param(
            {"tensorParallelSize": 8}, "experts", "a part of each on every GPU", id="experts' parts"
        ),
        pytest.param(
            {"tensorParallelSize": 8, "expertParallel": True},
            "experts",
            "whole, each on one GPU",
            id="whole experts",
        ),
        pytest.param(
            {"tensorParallelSize": 8, "engineArgs": ["--enable-expert-parallel"]},
            "experts",
            "whole, each on one GPU",
            id="whole experts, as vLLM has it",
        ),
        pytest.param({"tensorParallelSize": 8}, "draft", "none", id="no draft unasked"),
        pytest.param(
            {"tensorParallelSize": 8, "engineArgs": ["--speculative-config", DRAFT]},
            "draft",
            "multi-token layer",
            id="a draft",
        ),
        pytest.param({"tensorParallelSize": 8}, "load format", "auto", id="vLLM's own reader"),
        pytest.param({"loadFormat": "instanttensor"}, "load format", "instanttensor", id="a reader"),
        pytest.param({"engineArgs": ["--load-format=dummy"]}, "load format", "dummy", id="another reader"),
        pytest.param(
            {"engineArgs": ["--max-num-batched-tokens", "4096"]},
            "largest batch",
            "4,096 tokens",
            id="a batch",
        ),
    ],
)
def test_what_is_said(spec: dict[str, Any], name: str, value: str) -> None:
    assert settings(**spec)[name] == value


def test_a_draft_a_longer_batch_and_fewer_gpus_leave_less_cache() -> None:
    whole = tokens(tensorParallelSize=8)
    assert whole > tokens(tensorParallelSize=8, engineArgs=["--speculative-config", DRAFT]) > 0
    assert whole > tokens(tensorParallelSize=8, engineArgs=["--max-num-batched-tokens", "32768"]) > 0
    assert "KV cache" not in settings(tensorParallelSize=4)


def tokens(**spec: Any) -> int:
    return int(settings(**spec)["KV cache"].removesuffix(" tokens").replace(",", ""))


def test_one_gpu_and_a_model_without_a_draft_have_less_to_say() -> None:
    assert list(settings(DEEPSEEK_V2_LITE)) == ["KV cache", "load format", "largest batch"]


def test_nothing_is_said_on_cpus_and_of_what_nobody_knows() -> None:
    given = {"model": {"uri": "models/base"}, "storage": {"claimName": "models"}}
    assert serving_settings(ModelDeploymentSpec.model_validate(given), None, Config()) == ()
    assert settings(device="cpu") == {}
