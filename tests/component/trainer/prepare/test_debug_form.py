"""`model.layers: debug`: the first dense layer and the first of experts, cut out of a base's weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from random_base import write_tokenizer
from random_families import FAMILIES, write_random_base
from safetensors.torch import load_file, save_file

from finetune_trainer.__main__ import main
from finetune_trainer.base.float8 import quantize
from finetune_trainer.prepare.marker import MARKER


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.fixture
def debug(volume):
    """A run on the debug form of what is at the base's path."""
    volume.original = volume.base
    volume.document["flavor"] = "auto"
    volume.document["model"]["layers"] = "debug"
    volume.document["paths"]["base"] += "-debug"
    volume.base = volume.root / volume.document["paths"]["base"]
    volume.source["format"] = "text"
    volume.dataset.write_text('{"text": "t5 t6 t7 t8"}\n' * 3)
    return volume


@pytest.mark.parametrize(
    ("family", "dense"), [*((family, 2) for family in FAMILIES), ("DeepSeek-V3", 0), ("Kimi-K2", 1)]
)
def test_it_has_the_first_layer_of_each_kind(debug, family: str, dense: int) -> None:
    config = FAMILIES[family] | {"first_k_dense_replace": dense, "num_hidden_layers": 4}
    if family == "GLM-4.7-Flash":
        config["mlp_layer_types"] = ["dense"] * dense + ["sparse"] * (4 - dense)
    write_random_base(debug.original, config, prediction_layers=1)
    write_tokenizer(debug.original, config["vocab_size"])
    before = tensors_of(debug.original)
    assert main(["prepare", *debug.arguments]) == 0
    said = json.loads((debug.base / "config.json").read_text())
    assert (said["num_hidden_layers"], said["first_k_dense_replace"]) == ((2, 1) if dense else (1, 0))
    assert said["hidden_size"] == config["hidden_size"]
    kept = {0: 0, dense: 1} if dense else {0: 0}
    expected = {name: tensor for name, tensor in before.items() if ".layers." not in name}
    for old, new in kept.items():
        layer = f"model.layers.{old}."
        expected |= {
            name.replace(layer, f"model.layers.{new}."): tensor
            for name, tensor in before.items()
            if name.startswith(layer)
        }
    found = tensors_of(debug.base)
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    assert (debug.base / MARKER).exists()
    parity = json.loads((debug.run / "prepared.json").read_text())["parity"]
    assert parity["layers"] == len(kept)
    assert main(["prepare", *debug.arguments]) == 0  # it is there already


def test_of_the_hub_only_the_files_that_hold_it_are_fetched(debug, hub, pristine_base, tmp_path) -> None:
    original = tmp_path / "original"
    shutil.copytree(pristine_base, original)
    write_tokenizer(original, 4096)
    index = json.loads((original / "model.safetensors.index.json").read_text())
    index["weight_map"] |= {"model.layers.3.input_layernorm.weight": "model-00003-of-00003.safetensors"}
    (original / "model.safetensors.index.json").write_text(json.dumps(index))
    (original / "model-00003-of-00003.safetensors").write_bytes(b"never fetched")
    hub.add("acme/tiny", {file.name: file.read_bytes() for file in original.iterdir()})
    debug.document["model"]["uri"] = "hf://acme/tiny"
    assert main(["prepare", *debug.arguments]) == 0
    assert not list(debug.base.parent.glob("*.original"))
    assert {name.split(".")[2] for name in tensors_of(debug.base) if ".layers." in name} == {"0", "1"}
    assert not [name for name in hub.fetched if "00003-of-00003" in name]


def test_its_data_is_shown_without_weights(debug) -> None:
    config = FAMILIES["Moonlight"]
    write_random_base(debug.original, config)
    write_tokenizer(debug.original, config["vocab_size"])
    assert main(["data", *debug.arguments]) == 0
    assert not tensors_of(debug.base)
    assert main(["prepare", *debug.arguments]) == 0
    assert tensors_of(debug.base)


def test_what_is_not_trained_is_refused_before_it_is_cut(debug, capsys) -> None:
    config = FAMILIES["DeepSeek-V3"]
    write_random_base(debug.original, config)
    write_tokenizer(debug.original, config["vocab_size"])
    (debug.original / "config.json").write_text(json.dumps(config | {"model_type": "deepseek_v32"}))
    assert main(["prepare", *debug.arguments]) == 3
    assert "DeepSeek-V3.2: its attention reads" in capsys.readouterr().err
    assert not debug.base.exists() or not tensors_of(debug.base)


def test_fp8_stays_fp8_with_its_scales(debug) -> None:
    config = FAMILIES["Kimi-K2"] | {"first_k_dense_replace": 2, "num_hidden_layers": 4}
    write_random_base(debug.original, config)
    write_tokenizer(debug.original, config["vocab_size"])
    weights = debug.original / "model.safetensors"
    tensors = load_file(weights)
    for name in [name for name in tensors if "_proj.weight" in name]:
        values, tensors[f"{name}_scale_inv"] = quantize(tensors[name])
        tensors[name] = values.contiguous()
    save_file(tensors, weights)
    float8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    said = config | {"quantization_config": float8}
    (debug.original / "config.json").write_text(json.dumps(said))
    assert main(["prepare", *debug.arguments]) == 0
    found = tensors_of(debug.base)
    name = "layers.{}.mlp.experts.3.up_proj.weight"
    assert found[f"model.{name.format(1)}"].dtype == torch.float8_e4m3fn
    assert torch.equal(
        found[f"model.{name.format(1)}_scale_inv"], tensors[f"model.{name.format(2)}_scale_inv"]
    )
    assert json.loads((debug.base / "config.json").read_text())["quantization_config"] == float8
