"""The gate: a merge that is not base + adapter is not published."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune_converter.checkpoint.hashed_writer import digest_file
from finetune_converter.failure import Failure
from finetune_converter.merge.dtypes import Dtype
from finetune_converter.merge.stage import merge_folders
from finetune_converter.verify.stage import verify_folders

Corrupt = Callable[[Path, Path], None]
O_PROJ = "model.layers.0.self_attn.o_proj.weight"
EMBEDDINGS = "model.embed_tokens.weight"


def edit(folder: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change one tensor, and the manifest with it: only the tensors' own check can notice."""
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        if name in tensors:
            tensors[name] = change(tensors[name].clone()).contiguous()
            file.unlink()  # it may be a hard link to the base's file
            save_file(tensors, file, {"format": "pt"})
            manifest = json.loads((folder / "MANIFEST.json").read_text())
            digest = digest_file(file)
            manifest["files"][file.name] = {"sha256": digest.sha256, "size": digest.size}
            (folder / "MANIFEST.json").write_text(json.dumps(manifest))


def flip_a_byte(folder: Path, _: Path) -> None:
    file = max(folder.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    file.write_bytes(content)


def untune(folder: Path, base: Path) -> None:
    original = {n: t for file in base.glob("*.safetensors") for n, t in load_file(file).items()}
    edit(folder, O_PROJ, lambda _: original[O_PROJ])


def halve_the_update(folder: Path, base: Path) -> None:
    original = {n: t for file in base.glob("*.safetensors") for n, t in load_file(file).items()}
    edit(folder, O_PROJ, lambda t: ((t.float() + original[O_PROJ].float()) / 2).bfloat16())


def poison(folder: Path, _: Path) -> None:
    edit(folder, O_PROJ, lambda t: t.index_fill_(0, torch.tensor([0]), float("nan")))


def nudge_an_untouched_tensor(folder: Path, _: Path) -> None:
    edit(folder, EMBEDDINGS, lambda t: t * 1.01)


def change_the_config(folder: Path, _: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1.0}))
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    digest = digest_file(folder / "config.json")
    manifest["files"]["config.json"] = {"sha256": digest.sha256, "size": digest.size}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))


def add_a_file(folder: Path, _: Path) -> None:
    (folder / "extra.bin").write_bytes(b"x")


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
