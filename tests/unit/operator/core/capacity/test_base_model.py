"""How large a base is: what prepare tells, what a name promises, and nothing else."""

import dataclasses
import json
from typing import Any

import pytest
from published_configs import NAMES, published_config

from finetune_operator.core.capacity.architecture import FLAVORS, Architecture, debug_form
from finetune_operator.core.capacity.base_model import read_architecture
from finetune_operator.core.capacity.published import PUBLISHED, published_architecture
from finetune_operator.core.capacity.weights import model_bytes

TINY = FLAVORS["tiny_lora"]


def told(**changes: Any) -> str:
    return json.dumps({"architecture": dataclasses.asdict(TINY) | changes})


@pytest.mark.parametrize("name", NAMES)
def test_a_published_model_has_the_numbers_of_its_config(name: str) -> None:
    config = published_config(name)
    expected = {
        field.name: config[field.name] for field in dataclasses.fields(Architecture) if field.name in config
    }
    expected |= {
        "q_lora_rank": config["q_lora_rank"] or 0,
        "num_nextn_predict_layers": config.get("num_nextn_predict_layers", 0),
        "has_expert_bias": config["topk_method"] == "noaux_tc",
        "dtype": "float8" if "quantization_config" in config else "bfloat16",
    }
    architecture = published_architecture(f"hf://{name.replace('--', '/')}")
    assert architecture is not None
    assert dataclasses.asdict(architecture) == expected


@pytest.mark.parametrize(
    ("repository", "billions"),
    [
        pytest.param("deepseek-ai/deepseek-v3", 671, id="DeepSeek-V3"),
        pytest.param("deepseek-ai/deepseek-v2", 236, id="DeepSeek-V2"),
        pytest.param("deepseek-ai/deepseek-v2-lite", 16, id="DeepSeek-V2-Lite"),
        pytest.param("moonshotai/moonlight-16b-a3b", 16, id="Moonlight-16B-A3B"),
        pytest.param("moonshotai/kimi-k2-instruct", 1000, id="Kimi-K2: a trillion"),
        pytest.param("zai-org/glm-4.7-flash", 30, id="GLM-4.7-Flash"),
    ],
)
def test_parameters_are_as_many_as_the_makers_say(repository: str, billions: float) -> None:
    assert model_bytes(PUBLISHED[repository], "bfloat16") / 2e9 == pytest.approx(billions, rel=0.03)


@pytest.mark.parametrize(
    ("repository", "layers"),
    [
        pytest.param("deepseek-ai/deepseek-v3", (2, 1, 0), id="DeepSeek-V3"),
        pytest.param("zai-org/glm-4.7-flash", (2, 1, 0), id="GLM-4.7-Flash"),
    ],
)
def test_a_debug_form_has_the_widths_of_its_base(repository: str, layers: tuple[int, int, int]) -> None:
    whole = PUBLISHED[repository]
    names = ("num_hidden_layers", "first_k_dense_replace", "num_nextn_predict_layers")
    assert debug_form(whole) == dataclasses.replace(whole, **dict(zip(names, layers, strict=True)))


def test_a_debug_form_of_experts_alone_has_one_layer() -> None:
    form = debug_form(dataclasses.replace(TINY, first_k_dense_replace=0))
    assert (form.num_hidden_layers, form.first_k_dense_replace) == (1, 0)


@pytest.mark.parametrize(
    ("uri", "known"),
    [
        pytest.param("hf://deepseek-ai/DeepSeek-R1", True, id="by its name"),
        pytest.param("hf://Deepseek-AI/deepseek-r1", True, id="however it is written"),
        pytest.param("models/deepseek-ai/DeepSeek-R1", False, id="a folder of that name"),
        pytest.param("s3://bucket/deepseek-ai/DeepSeek-R1", False, id="a bucket"),
        pytest.param("hf://acme/DeepSeek-R1", False, id="somebody else's"),
    ],
)
def test_a_name_is_known_or_not(uri: str, known: bool) -> None:
    assert (published_architecture(uri) is not None) is known


@pytest.mark.parametrize(
    ("result", "architecture"),
    [
        pytest.param(told(), TINY, id="all of it"),
        pytest.param(told(scoring_func="sigmoid", rms_norm_eps=1e-6), TINY, id="more than is read"),
        pytest.param(told(q_lora_rank=0), dataclasses.replace(TINY, q_lora_rank=0), id="no latent queries"),
        pytest.param(told(vocab_size=None), None, id="a number is missing"),
        pytest.param(told(vocab_size=True), None, id="no number"),
        pytest.param(told(dtype="int4"), None, id="a dtype that is not known"),
        pytest.param("", None, id="nothing"),
        pytest.param("prepared", None, id="a word"),
        pytest.param("[1]", None, id="a list"),
        pytest.param('{"architecture": 7}', None, id="no object"),
    ],
)
def test_what_prepare_told_is_read(result: str, architecture: Architecture | None) -> None:
    assert read_architecture(result) == architecture
