"""A small DeepSeek-V3 on disk, and adapters of it by PEFT."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from small_deepseek import ATTENTION, load_json, small_model

from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.arithmetic.float8 import block_scales, quantize
from finetune_converter.files.atomic import write_json


@pytest.fixture(scope="session")
def _saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    small_model().save_pretrained(folder, max_shard_size="100KB")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    return folder


@pytest.fixture
def base(_saved: Path, tmp_path: Path) -> Path:
    """A base of several files, of its own for each test."""
    folder = tmp_path / "base"
    folder.mkdir()
    for file in _saved.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture
def float8_base(base: Path) -> Path:
    """The base with its projections in FP8 blocks, as DeepSeek-V3 is published."""
    block, quantization = (
        BlockFormat(),
        {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
    )
    weight_map = {}
    for file in sorted(base.glob("*.safetensors")):
        tensors = load_file(file)
        for name in [n for n in tensors if "proj" in n]:
            matrix = tensors[name].float()
            scales = block_scales(matrix, block)
            tensors[f"{name}_scale_inv"], tensors[name] = scales, quantize(matrix, scales, block)
        save_file(tensors, file, {"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file.name)
    config = load_json(base / "config.json")
    write_json(base / "config.json", {**config, "quantization_config": quantization})
    write_json(base / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    return base


@pytest.fixture
def ue8m0_base(float8_base: Path) -> Path:
    """FP8 whose scales are powers of two, as DeepSeek-V3.1 is published."""
    for file in float8_base.glob("*.safetensors"):
        stored = load_file(file)
        for name in [n for n in stored if n.endswith("_scale_inv")]:
            weight, exponent = name.removesuffix("_scale_inv"), torch.ceil(torch.log2(stored[name]))
            factor = (stored[name] / torch.exp2(exponent)).repeat_interleave(128, 0).repeat_interleave(128, 1)
            rows, columns = stored[weight].shape
            stored[weight] = (stored[weight].float() * factor[:rows, :columns]).to(torch.float8_e4m3fn)
            stored[name] = torch.exp2(exponent)
        save_file(stored, file, {"format": "pt"})
    config = load_json(float8_base / "config.json")
    config["quantization_config"]["scale_fmt"] = "ue8m0"
    write_json(float8_base / "config.json", config)
    return float8_base


@pytest.fixture
def adapter(tmp_path: Path) -> Callable[..., Path]:
    """Write an adapter by PEFT; also the model that PEFT merges, in `adapter/../peft`."""

    def write(**settings: object) -> Path:
        torch.manual_seed(1)
        options = {"r": 4, "lora_alpha": 8, "target_modules": ATTENTION, **settings}
        model = get_peft_model(small_model().float(), LoraConfig(**options))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
        model.save_pretrained(tmp_path / "adapter")
        model.merge_and_unload().to(torch.bfloat16).save_pretrained(tmp_path / "peft")
        return tmp_path / "adapter"

    return write
