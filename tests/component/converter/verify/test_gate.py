"""The gate: a merge that is not base + adapter is not published."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_deepseek import load_json, load_model

from finetune_converter.failure import Failure
from finetune_converter.files.digest import digest_file
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

Corrupt = Callable[[Path, Path], None]
O_PROJ = "model.layers.0.self_attn.o_proj.weight"
EXPERT = "model.layers.1.mlp.experts.{}.up_proj.weight"
EMBEDDINGS = "model.embed_tokens.weight"


def edit(folder: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change one tensor, and the manifest with it: only the tensors' own check can notice."""
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        if name in tensors:
            tensors[name] = change(tensors[name].clone()).contiguous()
            file.unlink()  # it may be a hard link to the base's file
            save_file(tensors, file, {"format": "pt"})
            list_again(folder, file.name)


def flip_a_byte(folder: Path, _: Path) -> None:
    file = max(folder.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    file.write_bytes(content)


def untune(folder: Path, base: Path) -> None:
    original = load_model(base)
    edit(folder, O_PROJ, lambda _: original[O_PROJ])


def halve_the_update(folder: Path, base: Path) -> None:
    original = load_model(base)
    edit(folder, O_PROJ, lambda t: ((t.float() + original[O_PROJ].float()) / 2).bfloat16())


def poison(folder: Path, _: Path) -> None:
    edit(folder, O_PROJ, lambda t: t.index_fill_(0, torch.tensor([0]), float("nan")))


def nudge_an_untouched_tensor(folder: Path, _: Path) -> None:
    edit(folder, EMBEDDINGS, lambda t: t * 1.01)


def list_again(folder: Path, name: str) -> None:
    """Let the manifest vouch for a file as it is now."""
    manifest = load_json(folder / "MANIFEST.json")
    manifest["files"][name] = asdict(digest_file(folder / name))
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))


def change_config(folder: Path, **fields: object) -> None:
    config = load_json(folder / "config.json")
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    list_again(folder, "config.json")


def change_the_config(folder: Path, _: Path) -> None:
    change_config(folder, rms_norm_eps=1.0)


def add_a_file(folder: Path, _: Path) -> None:
    (folder / "extra.bin").write_bytes(b"x")


def swap_two_experts(folder: Path, _: Path) -> None:
    tensors = load_model(folder)
    edit(folder, EXPERT.format(0), lambda _: tensors[EXPERT.format(1)])
    edit(folder, EXPERT.format(1), lambda _: tensors[EXPERT.format(0)])


def double_the_update(folder: Path, base: Path) -> None:
    original = load_model(base)[O_PROJ].float()
    edit(folder, O_PROJ, lambda t: (2 * t.float() - original).bfloat16())


def untune_everything(folder: Path, base: Path) -> None:
    for name, tensor in load_model(base).items():
        if "_proj" in name and ".self_attn." in name:
            edit(folder, name, lambda _, tensor=tensor: tensor)


def forget_one_row(folder: Path, base: Path) -> None:
    row = load_model(base)[O_PROJ][-1]
    edit(folder, O_PROJ, lambda t: torch.cat([t[:-1], row[None]]))


def move_by_one_unit(folder: Path, _: Path) -> None:
    edit(folder, O_PROJ, lambda t: (t.view(torch.int16) + 2).view(torch.bfloat16))


def transpose(folder: Path, _: Path) -> None:
    edit(folder, O_PROJ, lambda t: t.T)


def widen(folder: Path, _: Path) -> None:
    edit(folder, O_PROJ, lambda t: t.float())


def negate_a_norm(folder: Path, _: Path) -> None:
    edit(folder, "model.norm.weight", lambda t: -t)


def lose_a_layer(folder: Path, _: Path) -> None:
    for file in folder.glob("*.safetensors"):
        tensors = {n: t for n, t in load_file(file).items() if ".layers.1." not in n}
        file.unlink()
        save_file(tensors, file, {"format": "pt"})
        list_again(folder, file.name)


def truncate_a_file(folder: Path, _: Path) -> None:
    file = max(folder.glob("*.safetensors"))
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:-8])


def lose_the_tokenizer(folder: Path, _: Path) -> None:
    (folder / "tokenizer_config.json").unlink()


def announce_float8(folder: Path, _: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]})


def announce_another_depth(folder: Path, _: Path) -> None:
    change_config(folder, num_hidden_layers=1)


def stale_scales(folder: Path, base: Path) -> None:
    original = load_model(base)[f"{O_PROJ}_scale_inv"]
    edit(folder, f"{O_PROJ}_scale_inv", lambda _: original)


def zero_scales(folder: Path, _: Path) -> None:
    edit(folder, f"{O_PROJ}_scale_inv", torch.zeros_like)


def coarse_scales(folder: Path, _: Path) -> None:
    """The same values on a grid 64 times coarser: small ones are lost."""
    scales = load_model(folder)[f"{O_PROJ}_scale_inv"]
    edit(folder, O_PROJ, lambda t: (t.float() / 64).to(torch.float8_e4m3fn))
    edit(folder, f"{O_PROJ}_scale_inv", lambda _: scales * 64)


@pytest.mark.parametrize(
    ("corrupt", "says"),
    [
        pytest.param(flip_a_byte, "sha256", id="a flipped byte"),
        pytest.param(untune, O_PROJ, id="an untuned tensor"),
        pytest.param(halve_the_update, O_PROJ, id="another alpha"),
        pytest.param(poison, "not finite", id="NaN"),
        pytest.param(nudge_an_untouched_tensor, EMBEDDINGS, id="an untouched tensor that changed"),
        pytest.param(change_the_config, "rms_norm_eps", id="another config"),
        pytest.param(add_a_file, "extra.bin", id="a file too many"),
        pytest.param(swap_two_experts, "experts.0", id="swapped experts"),
        pytest.param(double_the_update, O_PROJ, id="twice the alpha"),
        pytest.param(untune_everything, "self_attn", id="the untuned base"),
        pytest.param(forget_one_row, O_PROJ, id="a row without its update"),
        pytest.param(move_by_one_unit, O_PROJ, id="values two units off"),
        pytest.param(transpose, O_PROJ, id="a transposed tensor"),
        pytest.param(widen, "F32", id="another dtype"),
        pytest.param(negate_a_norm, "model.norm.weight", id="a norm with the other sign"),
        pytest.param(lose_a_layer, "layers.1.", id="a lost layer"),
        pytest.param(truncate_a_file, "safetensors", id="a truncated file"),
        pytest.param(lose_the_tokenizer, "tokenizer_config.json", id="a lost tokenizer"),
        pytest.param(announce_float8, "quantization_config", id="FP8 announced beside bf16"),
        pytest.param(announce_another_depth, "num_hidden_layers", id="another depth announced"),
    ],
)
def test_catches(base: Path, adapter: Callable[..., Path], corrupt: Corrupt, says: str) -> None:
    folder, out = adapter(), base.parent / "out"
    merge_folders(base=base, adapter=folder, out=out, dtype=Dtype.BASE, workers=1)
    verify_folders(base=base, adapter=folder, merged=out, dtype=Dtype.BASE)
    corrupt(out, base)
    with pytest.raises(Failure, match=r".") as caught:
        verify_folders(base=base, adapter=folder, merged=out, dtype=Dtype.BASE)
    assert says in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("corrupt", "says"),
    [
        pytest.param(stale_scales, O_PROJ, id="stale scales"),
        pytest.param(zero_scales, f"{O_PROJ}_scale_inv", id="scales of zero"),
        pytest.param(coarse_scales, O_PROJ, id="scales too coarse"),
        pytest.param(untune_everything, "self_attn", id="the untuned base"),
        pytest.param(swap_two_experts, "experts.0", id="swapped experts"),
    ],
)
def test_catches_in_float8(
    float8_base: Path, adapter: Callable[..., Path], corrupt: Corrupt, says: str
) -> None:
    test_catches(float8_base, adapter, corrupt, says)
