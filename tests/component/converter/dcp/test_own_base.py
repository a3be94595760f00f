"""A checkpoint whose base nobody has but itself: config.json, a tokenizer and a flavour are enough."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from small_deepseek import load_json, load_model
from titan_checkpoints import lora_of, save, titan

from finetune_converter import cli
from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype

# One process, no process group: torch warns, and that is meant here.
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


def from_dcp(step: Path, base: Path, out: Path, *options: str) -> str:
    arguments = ["from-dcp", f"--checkpoint={step}", f"--base={base}", f"--out={out}", *options]
    return CliRunner().invoke(cli.convert, arguments, catch_exceptions=False).output


def assets_of(base: Path, folder: Path, **fields: object) -> Path:
    """config.json and what is beside the weights, as download_hf_assets.py brings it."""
    folder.mkdir()
    for file in base.iterdir():
        if not file.name.startswith("model"):
            (folder / file.name).write_bytes(file.read_bytes())
    config = {**load_json(base / "config.json"), **fields}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_whole_model_with_a_configuration_alone(base: Path, tmp_path: Path) -> None:
    before = load_model(base)
    step = save(titan({name: tensor + 0.25 for name, tensor in before.items()}), tmp_path / "step-3")
    assets = assets_of(base, tmp_path / "assets")
    assert from_dcp(step, assets, tmp_path / "out") == f"model: {tmp_path / 'out'}\n"
    after = load_model(tmp_path / "out")
    assert after.keys() == before.keys()
    for name, tensor in after.items():
        dtype = torch.float32 if name.endswith("e_score_correction_bias") else torch.bfloat16
        assert torch.equal(tensor, (before[name] + 0.25).float().to(dtype)), name
    assert (tmp_path / "out/tokenizer_config.json").is_file()


@pytest.mark.parametrize("flavor", [None, "deepseek_aghilora"])
def test_lora_keys_merge_into_the_checkpoints_own_weights(
    base: Path, adapter: Callable[..., Path], tmp_path: Path, flavor: str | None
) -> None:
    """With a flavour, the configuration is that of the original, of more layers."""
    expected = adapter(target_modules=["o_proj", "q_b_proj"])
    step = save(titan(load_model(base)) | lora_of(expected), tmp_path / "step-3")
    fields = {"num_hidden_layers": 61, "first_k_dense_replace": 3, "num_nextn_predict_layers": 1}
    assets = assets_of(base, tmp_path / "assets", **(fields if flavor else {}))
    out = tmp_path / "out"
    options = ["--merge", "--alpha=8", *([f"--flavor={flavor}"] if flavor else [])]
    assert from_dcp(step, assets, out, *options).startswith(f"merged and verified: {out} ")
    config = load_json(out / "config.json")
    assert (config["num_hidden_layers"], config["first_k_dense_replace"]) == (2, 1)
    merge_folders(base=base, adapter=expected, out=tmp_path / "own", dtype=Dtype.BFLOAT16, workers=1)
    ours, own = load_model(out), load_model(tmp_path / "own")
    assert ours.keys() == own.keys()
    assert all(torch.equal(ours[name], own[name].to(ours[name].dtype)) for name in own)


def test_a_base_of_the_flavour_is_taken_as_it_is(
    base: Path, adapter: Callable[..., Path], tmp_path: Path
) -> None:
    step = save(titan(load_model(base)) | lora_of(adapter(target_modules=["o_proj"])), tmp_path / "step-3")
    options = ["--alpha=8", "--flavor=deepseek_aghilora"]
    assert from_dcp(step, base, tmp_path / "out", *options) == f"adapter: {tmp_path / 'out'}\n"
    assert not (tmp_path / "out.base").exists()


def test_what_is_refused(base: Path, tmp_path: Path) -> None:
    state = titan(load_model(base))
    step = save(state, tmp_path / "step-3")
    assets = assets_of(base, tmp_path / "assets")
    with pytest.raises(Failure, match="--flavor: 7B does not exist"):
        from_dcp(step, assets, tmp_path / "out", "--flavor=7B")
    with pytest.raises(Failure, match=r"nothing in it is 'model\.layers\.2"):
        from_dcp(step, assets, tmp_path / "out", "--flavor=tiny_lora")
    deeper = assets_of(base, tmp_path / "narrow", hidden_size=256)
    with pytest.raises(Failure, match=r"is \[64, 128\], the base's .* \[64, 256\]"):
        from_dcp(step, deeper, tmp_path / "out")
    assert not [*tmp_path.glob("out.base")]
