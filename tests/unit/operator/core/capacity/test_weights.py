"""Bytes of weights, against what is published."""

import pytest

from finetune_operator.api.training import Flavor
from finetune_operator.core.capacity.adapters import adapter_parameters
from finetune_operator.core.capacity.architecture import FLAVORS, Dtype
from finetune_operator.core.capacity.weights import Matrix, checkpoint_bytes, model_bytes

# The hub's count of the safetensors of deepseek-ai/DeepSeek-V3.
DEEPSEEK_V3 = {"F8_E4M3": 680_571_043_840, "BF16": 3_918_786_560, "F32": 41_555_600}


def test_a_checkpoint_of_deepseek_v3_is_as_published_to_the_byte() -> None:
    published = DEEPSEEK_V3["F8_E4M3"] + 2 * DEEPSEEK_V3["BF16"] + 4 * DEEPSEEK_V3["F32"]
    assert checkpoint_bytes(FLAVORS["671B_lora"], "float8") == published == 688_574_839_360


@pytest.mark.parametrize(
    ("flavor", "dtype", "expected"),
    [
        # 15,706,484,224 parameters, says the hub.
        pytest.param("16B_lora", "bfloat16", 2 * 15_706_484_224, id="DeepSeek-V2-Lite"),
        pytest.param("671B_lora", "bfloat16", 1_342_052_868_096, id="671B in bfloat16"),
        pytest.param("671B_lora", "float8", 673_150_611_808, id="671B in FP8"),
        # docs/notes/full-width-speed.md: 13.95B parameters.
        pytest.param("deepseek_aghilora", "bfloat16", 27_888_270_336, id="2 layers at full width"),
        pytest.param("tiny_lora", "float32", 29_797_472, id="tiny"),
    ],
)
def test_model_bytes(flavor: Flavor, dtype: Dtype, expected: int) -> None:
    assert model_bytes(FLAVORS[flavor], dtype) == expected


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        pytest.param(128, 128, 128 * 128 + 4, id="one block"),
        pytest.param(576, 7168, 576 * 7168 + 4 * 5 * 56, id="ragged rows"),
    ],
)
def test_a_matrix_in_fp8_has_a_scale_a_block(rows: int, columns: int, expected: int) -> None:
    assert Matrix(name="o_proj", group="attention", rows=rows, columns=columns).size("float8") == expected


@pytest.mark.parametrize(
    ("targets", "experts", "expected"),
    [
        pytest.param(["o_proj"], False, 16 * (7168 + 16_384), id="a module"),
        pytest.param(["wo"], False, 16 * (7168 + 16_384), id="torchtitan's name for it"),
        pytest.param(["wo", "o_proj"], False, 16 * (7168 + 16_384), id="named twice"),
        pytest.param(["experts"], False, 0, id="no experts in a dense layer"),
        pytest.param(["experts"], True, 256 * 3 * 16 * (7168 + 2048), id="experts"),
        pytest.param(["router"], True, 0, id="never the router"),
    ],
)
def test_adapter_parameters(targets: list[str], experts: bool, expected: int) -> None:
    assert adapter_parameters(FLAVORS["671B_lora"], targets, 16, experts=experts) == expected
