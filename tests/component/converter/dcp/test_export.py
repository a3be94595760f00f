"""torchtitan's checkpoints as a Hugging Face model, a PEFT adapter, or both merged."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from small_deepseek import load_json, load_model
from titan_checkpoints import lora_of, save, titan

from finetune_converter import cli
from finetune_converter.dcp.export import export_dcp
from finetune_converter.dcp.merged import merge_dcp
from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

# One process, no process group: torch warns, and that is meant here.
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


def test_a_whole_model(base: Path, tmp_path: Path) -> None:
    before = load_model(base)
    trained = {name: tensor + 0.25 for name, tensor in before.items()}
    step = save(titan(trained), tmp_path / "step-3")
    out = tmp_path / "model"
    arguments = ["from-dcp", f"--checkpoint={step}", f"--base={base}", f"--out={out}"]
    result = CliRunner().invoke(cli.convert, arguments, catch_exceptions=False)
    assert result.output == f"model: {out}\n"
    after = load_model(out)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], trained[name].to(before[name].dtype)) for name in before)
    assert load_json(out / "config.json")["hidden_size"] == 128


def test_lora_keys_become_an_adapter_that_merges(
    base: Path, adapter: Callable[..., Path], tmp_path: Path
) -> None:
    expected = adapter(target_modules=["o_proj", "q_b_proj"])
    tensors = load_model(expected)
    lora = {}
    for name, tensor in tensors.items():
        layer, module, side = name.split(".")[4], name.split(".")[6], name.split(".")[7]
        titan_name = {"o_proj": "wo", "q_b_proj": "wq_b"}[module]
        lora[f"layers.{layer}.attention.{titan_name}.{side.lower()}.weight"] = tensor
    step = save(titan(load_model(base)) | lora, tmp_path / "step-3")
    with pytest.raises(Failure, match="--alpha missing"):
        export_dcp(checkpoint=step, base=base, out=tmp_path / "none", alpha=None)
    assert export_dcp(checkpoint=step, base=base, out=tmp_path / "lora", alpha=8) == "adapter"
    ours = load_model(tmp_path / "lora")
    assert ours.keys() == tensors.keys()
    assert all(torch.equal(ours[name], tensors[name]) for name in tensors)
    merge_folders(base=base, adapter=tmp_path / "lora", out=tmp_path / "out", dtype=Dtype.BASE, workers=1)
    verify_folders(base=base, adapter=tmp_path / "lora", merged=tmp_path / "out", dtype=Dtype.BASE)


def test_lora_keys_to_a_merged_model_in_one_command(
    base: Path, adapter: Callable[..., Path], tmp_path: Path
) -> None:
    expected = adapter(target_modules=["o_proj", "q_b_proj"])
    step = save(titan(load_model(base)) | lora_of(expected), tmp_path / "step-3")
    arguments = ["from-dcp", f"--checkpoint={step}", f"--base={base}", f"--out={tmp_path / 'out'}"]
    arguments += ["--merge", "--alpha=8", "--dtype=bfloat16"]
    result = CliRunner().invoke(cli.convert, arguments, catch_exceptions=False)
    out = tmp_path / "out"
    assert result.output == f"merged and verified: {out} (its adapter: {out}.adapter)\n"
    merge_folders(base=base, adapter=expected, out=tmp_path / "own", dtype=Dtype.BFLOAT16, workers=1)
    ours, own = load_model(tmp_path / "out"), load_model(tmp_path / "own")
    assert all(torch.equal(ours[name], own[name]) for name in own)
    whole = save(titan(load_model(base)), tmp_path / "step-4")
    with pytest.raises(Failure, match="holds no LoRA matrices"):
        merge_dcp(checkpoint=whole, base=base, out=tmp_path / "no", alpha=8, dtype=Dtype.BASE)
    assert (tmp_path / "no.model/config.json").exists()


def test_a_step_in_hugging_faces_format(base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As checkpoint.last_save_in_hf writes it: weights and index, no config.json."""
    caplog.set_level("INFO")
    before, step = load_model(base), tmp_path / "step-3"
    step.mkdir()
    trained = {name: (tensor + 0.25).float() for name, tensor in before.items()}
    save_file(trained, step / "model-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(trained, "model-00001-of-00001.safetensors")}
    (step / "model.safetensors.index.json").write_text(json.dumps(index))
    assert export_dcp(checkpoint=step, base=base, out=tmp_path / "model", alpha=None) == "model"
    after = load_model(tmp_path / "model")
    assert all(torch.equal(after[name], trained[name].to(before[name].dtype)) for name in before)
    assert "Hugging Face's format" in caplog.text
    save_file({**trained, "model.extra.weight": torch.ones(1)}, step / "model-00001-of-00001.safetensors")
    with pytest.raises(Failure, match=r"'model\.extra\.weight': .* holds more than it"):
        export_dcp(checkpoint=step, base=base, out=tmp_path / "more", alpha=None)


def test_mlps_are_named_as_peft_takes_them(base: Path, tmp_path: Path) -> None:
    """By their parameters: as target modules PEFT would take them for routed experts."""
    out, inner = load_model(base)["model.layers.0.mlp.down_proj.weight"].shape
    lora = {
        "layers.0.feed_forward.w2.lora_a.weight": torch.ones(8, inner),
        "layers.0.feed_forward.w2.lora_b.weight": torch.ones(out, 8),
        "layers.0.attention.wo.lora_a.weight": torch.ones(8, 8),
        "layers.0.attention.wo.lora_b.weight": torch.ones(8, 8),
    }
    export_dcp(checkpoint=save(lora, tmp_path / "step-3"), base=base, out=tmp_path / "lora", alpha=8)
    config = load_json(tmp_path / "lora/adapter_config.json")
    assert (config["target_modules"], config["target_parameters"]) == (["o_proj"], ["down_proj.weight"])
