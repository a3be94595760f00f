"""Loading whole bases, in the types that are published."""

import json
from pathlib import Path

import pytest
import torch
from random_base import write_tiny_base
from safetensors.torch import load_file, save_file

from finetune_trainer.base.float8 import quantize
from finetune_trainer.contract.failure import DataError
from finetune_trainer.model.base_loader import frozen_tensors, load_base
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.frozen.settings import FrozenSettings
from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.lora.settings import LoRASettings

BLOCK = 128
MODULE = "model.layers.1.self_attn.kv_a_proj_with_mqa.weight"


def _model(base_dtype: str, *, float8: bool = False) -> FrozenBaseModel:
    converter = LoRAConverter.Config(
        lora=LoRASettings(rank=8, alpha=8.0),
        targets=("attention",),
        base_dtype="bfloat16" if base_dtype == "bfloat16" else "float32",
        frozen=FrozenSettings(dtype="float8" if float8 else "precision"),
    )
    config = converter.build().convert(build_model_config("tiny_lora", device="cpu"))
    model: FrozenBaseModel = config.build()
    return model


def _quantize(folder: Path) -> dict[str, torch.Tensor]:
    """Rewrite the projections in FP8 as DeepSeek-V3 is published; what they then stand for."""
    tensors, meaning = load_file(folder / "model.safetensors"), {}
    for name, weight in list(tensors.items()):
        if "_proj" not in name or ".layers.4." in name:
            continue
        rows, columns = (-(-size // BLOCK) for size in weight.shape)
        scales = torch.linspace(0.01, 0.02, rows * columns).reshape(rows, columns)
        expanded = scales.repeat_interleave(BLOCK, 0)[: weight.shape[0]]
        expanded = expanded.repeat_interleave(BLOCK, 1)[:, : weight.shape[1]]
        tensors[name] = (weight / expanded).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale_inv"] = scales
        meaning[name] = tensors[name].float() * expanded
    save_file(tensors, folder / "model.safetensors")
    return meaning


def test_what_is_read_is_told_as_it_is_read(tmp_path: Path) -> None:
    write_tiny_base(tmp_path)
    model = _model("float32")
    told: list[tuple[int, int]] = []
    load_base([model], model.config, tmp_path, lambda done, total: told.append((done, total)))
    done = [bytes_ for bytes_, _ in told]
    assert done == sorted(done)
    assert done[0] == 0
    totals = {total for _, total in told}
    assert totals == {sum(tensor.nbytes for _, tensor in frozen_tensors(model))}


def test_float8_base_is_loaded_as_what_it_stands_for(tmp_path: Path) -> None:
    write_tiny_base(tmp_path)
    meaning = _quantize(tmp_path)
    model = _model("float32")
    load_base([model], model.config, tmp_path)
    assert torch.equal(model.layers["1"].attention.wkv_a.weight, meaning[MODULE])
    for expert in range(8):
        name = f"model.layers.3.mlp.experts.{expert}.down_proj.weight"
        loaded = model.layers["3"].moe.routed_experts.inner_experts.w2_EDF[expert]
        assert torch.equal(loaded, meaning[name])


def test_float8_base_is_kept_as_it_is(tmp_path: Path) -> None:
    write_tiny_base(tmp_path)
    _quantize(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    model = _model("float32", float8=True)
    load_base([model], model.config, tmp_path)
    module = model.layers["1"].attention.wkv_a
    assert torch.equal(module.weight.view(torch.uint8), stored[MODULE].view(torch.uint8))
    assert torch.equal(module.weight_scale_inv, stored[f"{MODULE}_scale_inv"])
    experts = model.layers["3"].moe.routed_experts.inner_experts
    for expert in range(8):
        name = f"model.layers.3.mlp.experts.{expert}.down_proj.weight"
        assert torch.equal(experts.w2_EDF[expert].view(torch.uint8), stored[name].view(torch.uint8))
        assert torch.equal(experts.w2_EDF_scale_inv[expert], stored[f"{name}_scale_inv"])


def test_bfloat16_base_is_rounded_to_float8(tmp_path: Path) -> None:
    write_tiny_base(tmp_path, dtype=torch.bfloat16)
    stored = load_file(tmp_path / "model.safetensors")
    model = _model("bfloat16", float8=True)
    load_base([model], model.config, tmp_path)
    module = model.layers["1"].attention.wkv_a
    values, scales = quantize(stored[MODULE])
    assert torch.equal(module.weight.view(torch.uint8), values.view(torch.uint8))
    assert torch.equal(module.weight_scale_inv, scales)
    assert model.lm_head.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("base_dtype", ["bfloat16", "float32"])
def test_bfloat16_base_is_loaded_exactly(tmp_path: Path, base_dtype: str) -> None:
    write_tiny_base(tmp_path, dtype=torch.bfloat16, sharded=True)
    expected = {
        name: tensor for file in tmp_path.glob("*.safetensors") for name, tensor in load_file(file).items()
    }
    model = _model(base_dtype)
    load_base([model], model.config, tmp_path)
    weight = model.layers["1"].attention.wkv_a.weight
    assert weight.dtype == getattr(torch, base_dtype)
    assert torch.equal(weight.float(), expected[MODULE].float())
    bias = model.layers["2"].moe.expert_bias_E
    assert bias.dtype == torch.float32
    assert torch.equal(bias, expected["model.layers.2.mlp.gate.e_score_correction_bias"].float())


def test_base_of_another_shape_is_named_before_anything_is_read(tmp_path: Path) -> None:
    write_tiny_base(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"][:4000].clone()
    save_file(tensors, tmp_path / "model.safetensors")
    model = _model("float32")
    model.init_weights()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(DataError, match=r"model.safetensors: lm_head.weight has shape \[4000, 256\]"):
        load_base([model], model.config, tmp_path)
    unchanged = (torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(unchanged)


def test_a_model_of_another_rope_is_not_the_base(tmp_path: Path) -> None:
    write_tiny_base(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"rope_parameters": None}))
    model = _model("float32")
    with pytest.raises(DataError, match=r"the base's rope is plain .*, the model computes with .*factor=40"):
        load_base([model], model.config, tmp_path)
