"""A base is understood before a byte is written, or refused in a line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_deepseek import load_json, load_model

from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.arithmetic.float8 import dequantize
from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

Write = Callable[..., Path]
O_PROJ = "model.layers.0.self_attn.o_proj"
SCALES = f"{O_PROJ}.weight_scale_inv"


def merged(base: Path, adapter: Path, dtype: Dtype = Dtype.BASE) -> Path:
    out = base.parent / f"merged-{dtype}"
    merge_folders(base=base, adapter=adapter, out=out, dtype=dtype, workers=1)
    return out


def configure(base: Path, **fields: Any) -> None:
    """Set fields of config.json; None removes one."""
    config = {**load_json(base / "config.json"), **fields}
    (base / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def quantise(base: Path, **fields: Any) -> None:
    """Set fields of quantization_config; None removes one."""
    found = {**load_json(base / "config.json")["quantization_config"], **fields}
    configure(base, quantization_config={k: v for k, v in found.items() if v is not None})


def edit(base: Path, change: Callable[[dict[str, torch.Tensor]], object], part: str = O_PROJ) -> None:
    """Change the tensors of the file that holds `part`, and the index with it."""
    for file in base.glob("*.safetensors"):
        tensors = load_file(file)
        if any(part in name for name in tensors):
            before = set(tensors)
            change(tensors)
            save_file(tensors, file, {"format": "pt"})
            index = load_json(base / "model.safetensors.index.json")
            index["weight_map"] |= dict.fromkeys(set(tensors) - before, file.name)
            for name in before - set(tensors):
                del index["weight_map"][name]
            (base / "model.safetensors.index.json").write_text(json.dumps(index))


def put(name: str, tensor: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.update({name: tensor})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"model_type": "llama"}, "model_type is 'llama'", id="llama"),
        pytest.param({"model_type": "deepseek_v32"}, "model_type is 'deepseek_v32'", id="V3.2"),
        pytest.param({"model_type": None}, "model_type is None", id="no model_type"),
        pytest.param({"architectures": ["LlamaForCausalLM"]}, "architectures is", id="architectures"),
        pytest.param({"num_hidden_layers": None}, "num_hidden_layers is None", id="no layers"),
        pytest.param({"num_hidden_layers": "2"}, "num_hidden_layers is '2'", id="layers in words"),
        pytest.param({"num_hidden_layers": 3}, "no tensor 'model.layers.2", id="a layer too many"),
        pytest.param(
            {"vocab_size": 65}, r"is \[64, 128\], and config.json says \[65, 128\]", id="vocabulary"
        ),
        pytest.param({"hidden_size": "128"}, "hidden_size is '128'", id="a width in words"),
        pytest.param({"kv_lora_rank": 64}, r"kv_a_proj.*\[144, 128\], and .* \[80, 128\]", id="kv_lora_rank"),
        pytest.param({"q_lora_rank": 0}, "q_lora_rank is 0", id="q_lora_rank 0"),
        pytest.param({"first_k_dense_replace": -1}, "first_k_dense_replace is -1", id="dense layers"),
        pytest.param({"first_k_dense_replace": 2}, "no tensor .*layers.1.mlp.gate_proj", id="dense too many"),
        pytest.param({"n_routed_experts": 6}, r"mlp.gate.weight' is \[4, 128\]", id="experts"),
        pytest.param({"attention_bias": True}, "no tensor .*q_a_proj.bias", id="biases that are not there"),
        pytest.param({"num_key_value_heads": 1}, "num_key_value_heads is 1", id="grouped heads"),
        pytest.param({"n_group": 3}, "n_group is 3", id="groups that do not divide"),
        pytest.param({"n_group": None}, "n_group is 8", id="transformers' groups"),
        pytest.param({"topk_group": 3}, "topk_group is 3", id="more groups than there are"),
        pytest.param({"num_experts_per_tok": 3}, "num_experts_per_tok is 3", id="experts of a token"),
        pytest.param({"hidden_act": "gelu"}, "hidden_act is 'gelu'", id="activation"),
        pytest.param({"rope_parameters": {"rope_type": "su"}}, "rope_parameters is", id="rope"),
        pytest.param(
            {"rope_scaling": {"type": "yarn"}}, "rope_scaling.factor is None", id="rope without factor"
        ),
        pytest.param(
            {
                "model_type": "deepseek_v2",
                "architectures": ["DeepseekV2ForCausalLM"],
                "topk_method": "noaux_tc",
            },
            "topk_method is 'noaux_tc'",
            id="a V3 that says V2",
        ),
        pytest.param({"quantization_config": {"quant_method": "awq"}}, "AWQ", id="AWQ"),
        pytest.param({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "GPTQ", id="GPTQ"),
        pytest.param(
            {"quantization_config": {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}},
            "compressed-tensors",
            id="compressed-tensors",
        ),
        pytest.param({"quantization_config": {"quant_algo": "NVFP4"}}, "NVFP4", id="NVFP4"),
        pytest.param({"quantization_config": "fp8"}, "which is no object", id="a string"),
        pytest.param({"quantization_config": {}}, "quant_method is 'missing'", id="no method"),
        pytest.param({"compression_config": {"a": 1}}, "compression_config", id="compression_config"),
        pytest.param(
            {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
            "no tensor is FP8",
            id="bfloat16 weights",
        ),
    ],
)
def test_of_a_configuration(base: Path, adapter: Write, fields: dict[str, Any], says: str) -> None:
    configure(base, **fields)
    check_refused(base, adapter(), says)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"weight_block_size": None}, "is missing", id="fp8 without blocks"),
        *(
            pytest.param({"weight_block_size": size}, "weight_block_size is", id=f"blocks {size}")
            for size in (
                [0, 128],
                ["128", "128"],
                [128],
                [128, 128, 1],
                [-128, 128],
                [1.5, 2],
                "128",
                [True, 1],
            )
        ),
        pytest.param({"weight_block_size": [64, 64]}, "not the", id="blocks of other scales"),
        pytest.param({"fmt": "e5m2"}, "fmt is 'e5m2'", id="e5m2"),
        pytest.param({"scale_fmt": "e4m3"}, "scale_fmt is", id="scale_fmt"),
        pytest.param({"activation_scheme": "static"}, "activation_scheme is 'static'", id="static"),
        pytest.param({"modules_to_not_convert": "lm_head"}, "not a list", id="a name for a list"),
        pytest.param({"ignored_layers": ["("]}, "ignored_layers", id="no expression"),
        pytest.param(
            {"modules_to_not_convert": [O_PROJ]}, "names it among what is not", id="FP8 and excepted"
        ),
    ],
)
def test_of_its_quantisation(float8_base: Path, adapter: Write, fields: dict[str, Any], says: str) -> None:
    quantise(float8_base, **fields)
    check_refused(float8_base, adapter(), says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(put(SCALES, torch.ones(1, 2)), r"F32 \[1, 2\], not the \[1, 1\]", id="scales' shape"),
        pytest.param(put(SCALES, torch.ones(1)), r"F32 \[1\], not the", id="scales of one dimension"),
        pytest.param(put(SCALES, torch.ones(1, 1).double()), "F64", id="scales' dtype"),
        pytest.param(put(SCALES, torch.ones(1, 1).int()), "I32", id="scales of integers"),
        pytest.param(lambda tensors: tensors.pop(SCALES), "has no .*_scale_inv", id="no scales"),
        pytest.param(
            lambda t: t.update({f"{O_PROJ}.weight": t[f"{O_PROJ}.weight"].to(torch.float8_e5m2)}),
            "F8_E5M2",
            id="weights in e5m2",
        ),
        pytest.param(
            lambda t: t.update({f"{O_PROJ}.weight": t[f"{O_PROJ}.weight"].bfloat16()}),
            "has no FP8 weight",
            id="scales without FP8",
        ),
        pytest.param(
            lambda t: t.update({f"{O_PROJ}.weight": t[f"{O_PROJ}.weight"].bfloat16()}) or t.pop(SCALES),
            "does not except it",
            id="bfloat16 between FP8",
        ),
        pytest.param(put(f"{O_PROJ}.weight_scale", torch.ones(1)), "another quantisation", id="per tensor"),
        pytest.param(put(f"{O_PROJ}.qweight", torch.ones(1)), "another quantisation", id="GPTQ's"),
    ],
)
def test_of_its_tensors(
    float8_base: Path, adapter: Write, change: Callable[[dict[str, torch.Tensor]], object], says: str
) -> None:
    edit(float8_base, change)
    check_refused(float8_base, adapter(), says)


def test_float8_without_a_word_of_it(float8_base: Path, adapter: Write) -> None:
    configure(float8_base, quantization_config=None)
    check_refused(float8_base, adapter(), "is FP8, and config.json has no quantization_config")


def test_stacked_experts(base: Path, adapter: Write) -> None:
    stack = put("model.layers.1.mlp.experts.gate_up_proj", torch.ones(4, 64, 128))
    edit(base, stack, "layers.1.mlp.gate.weight")
    check_refused(base, adapter(), "holds all experts of a layer")


def rename(old: str, new: str) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.update({new: tensors.pop(old)})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(rename(f"{O_PROJ}.weight", f"{O_PROJ}.base_layer.weight"), id="base_layer"),
        pytest.param(
            rename(f"{O_PROJ}.weight", f"base_model.model.{O_PROJ}.base_layer.weight"), id="base_model"
        ),
        pytest.param(put(f"{O_PROJ}.lora_A.default.weight", torch.ones(4, 32)), id="lora_A"),
        pytest.param(put(f"{O_PROJ}.lora_magnitude_vector.weight", torch.ones(1)), id="DoRA's"),
        pytest.param(put(f"{O_PROJ}.modules_to_save.default.weight", torch.ones(1)), id="modules_to_save"),
        pytest.param(put(f"{O_PROJ}.original_module.weight", torch.ones(1)), id="original_module"),
    ],
)
def test_a_base_with_peft_s_layers_in_it(
    base: Path, adapter: Write, change: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    edit(base, change)
    check_refused(base, adapter(), "saved with PEFT's layers in it")


def check_refused(base: Path, adapter: Path, says: str) -> None:
    for dtype in (Dtype.BASE, Dtype.FLOAT8):
        with pytest.raises(Failure, match=says) as failure:
            merged(base, adapter, dtype)
        assert failure.value.exit_code == 3
        assert "\n" not in str(failure.value)
    assert not list(base.parent.glob("merged*"))


@pytest.mark.parametrize("field", ["modules_to_not_convert", "ignored_layers"])
@pytest.mark.parametrize("dtype", list(Dtype))
def test_what_is_excepted_stays_out_of_float8(
    float8_base: Path, adapter: Write, field: str, dtype: Dtype
) -> None:
    block, names = BlockFormat(), [f"{O_PROJ}.weight", "model.layers.1.self_attn.kv_b_proj.weight"]

    def unquantise(tensors: dict[str, torch.Tensor]) -> None:
        for name in names:
            if name in tensors:
                values = dequantize(tensors[name], tensors.pop(f"{name}_scale_inv"), block)
                tensors[name] = values.bfloat16()

    for name in names:
        edit(float8_base, unquantise, name)
    quantise(float8_base, **{field: [name.removesuffix(".weight") for name in names]})
    lora = adapter()
    folder = merged(float8_base, lora, dtype)
    verify_folders(base=float8_base, adapter=lora, merged=folder, dtype=dtype)
    tensors, config = load_model(folder), load_json(folder / "config.json")
    expected = torch.float16 if dtype is Dtype.FLOAT16 else torch.bfloat16
    assert {tensors[name].dtype for name in names} == {expected}
    assert not any(f"{name}_scale_inv" in tensors for name in names)
    q_a_proj = tensors["model.layers.0.self_attn.q_a_proj.weight"]
    if dtype in (Dtype.BASE, Dtype.FLOAT8):
        assert q_a_proj.dtype == torch.float8_e4m3fn
        assert config["quantization_config"] == load_json(float8_base / "config.json")["quantization_config"]
    else:
        assert "quantization_config" not in config
