"""What the merge takes, the gate proves: both read the same adapters, each with code of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peft_adapters import change_config, change_tensors, tensors_of, write_adapter
from safetensors.torch import load_file, save_file
from small_deepseek import ATTENTION, FUSED, load_json

from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.arithmetic.float8 import dequantize
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

Write = Callable[..., Path]
EXPERTS = ["gate_proj", "up_proj", "down_proj"]


@pytest.fixture
def adapter(tmp_path: Path) -> Write:
    return lambda **settings: write_adapter(tmp_path / "adapter", **settings)


def proven(base: Path, adapter: Path, dtype: Dtype = Dtype.BASE) -> Path:
    out = base.parent / "merged"
    merge_folders(base=base, adapter=adapter, out=out, dtype=dtype, workers=1)
    verify_folders(base=base, adapter=adapter, merged=out, dtype=str(dtype))
    return out


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"target_modules": ["embed_tokens", "lm_head", "o_proj"]}, id="embeddings and head"),
        pytest.param({"modules_to_save": ["embed_tokens", "lm_head"]}, id="saved embeddings and head"),
        pytest.param({"modules_to_save": ["gate", "q_a_layernorm"]}, id="saved router and norms"),
        pytest.param({"target_modules": "all-linear"}, id="all-linear"),
        pytest.param({"target_modules": EXPERTS, "use_rslora": True}, id="experts by their modules"),
        pytest.param(
            {"target_parameters": FUSED, "alpha_pattern": {"mlp.experts.gate_up_proj": 64, "mlp.experts": 3}},
            id="patterns of stacked experts",
        ),
        pytest.param({"target_parameters": ["mlp.gate.weight"], "alpha_pattern": {"gate": 9}}, id="router"),
        pytest.param({"layers_to_transform": [1], "exclude_modules": ["q_b_proj"]}, id="some layers"),
        pytest.param({"init_lora_weights": "mica"}, id="MiCA"),
    ],
)
@pytest.mark.parametrize("source", ["base", "float8_base"])
def test_of_settings(
    request: pytest.FixtureRequest, adapter: Write, source: str, settings: dict[str, Any]
) -> None:
    proven(request.getfixturevalue(source), adapter(**settings))


@pytest.mark.parametrize(
    "fields", [{"lora_B_layout": "grouped_by_expert"}, {"auto_mapping": {"unsloth": True}}]
)
def test_of_unsloth_s_experts(base: Path, adapter: Write, fields: dict[str, Any]) -> None:
    brought = adapter(target_parameters=FUSED)
    change_config(brought, **fields)
    proven(base, brought)


def test_of_a_lost_layer(base: Path, adapter: Write) -> None:
    brought = adapter(target_modules=ATTENTION)
    kept = {name: t for name, t in tensors_of(brought).items() if "layers.0.self_attn.o" not in name}
    change_tensors(brought, kept)
    proven(base, brought)


def test_of_files_beside_the_weights(base: Path, adapter: Write) -> None:
    brought = adapter()
    config = {**load_json(base / "config.json"), "auto_map": {"AutoConfig": "a.B"}}
    (base / "config.json").write_text(json.dumps(config))
    (base / "a.py").write_text("")
    (base / "vocab.tiktoken").write_text("")
    (base / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["a.T", None]}}))
    (base / "chat_template.jinja").write_text("base")
    (base / "special_tokens_map.json").write_text("{}")
    proven(base, brought)
    (base.parent / "merged").rename(base.parent / "before")
    (brought / "tokenizer.json").write_text(json.dumps({"added_tokens": [], "model": {"vocab": {"a": 1}}}))
    (brought / "tokenizer_config.json").write_text(json.dumps({"chat_template": "mine", "eos_token": "a"}))
    proven(base, brought)


@pytest.mark.parametrize("dtype", list(Dtype))
def test_of_modules_that_stay_out_of_float8(float8_base: Path, adapter: Write, dtype: Dtype) -> None:
    name = "model.layers.0.self_attn.o_proj.weight"
    for file in float8_base.glob("*.safetensors"):
        tensors = load_file(file)
        if name in tensors:
            values = dequantize(tensors[name], tensors.pop(f"{name}_scale_inv"), BlockFormat())
            save_file({**tensors, name: values.bfloat16()}, file, {"format": "pt"})
    index = load_json(float8_base / "model.safetensors.index.json")
    del index["weight_map"][f"{name}_scale_inv"]
    (float8_base / "model.safetensors.index.json").write_text(json.dumps(index))
    config = load_json(float8_base / "config.json")
    config["quantization_config"]["ignored_layers"] = [name.removesuffix(".weight")]
    (float8_base / "config.json").write_text(json.dumps(config))
    proven(float8_base, adapter(), dtype)
