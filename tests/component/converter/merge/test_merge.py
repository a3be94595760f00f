"""The merge against PEFT's own, and what becomes of everything that is not adapted."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_deepseek import ATTENTION, FUSED, load_json, load_model

from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.arithmetic.float8 import dequantize
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

Write = Callable[..., Path]


def merged(base: Path, adapter: Path, dtype: Dtype = Dtype.BASE) -> Path:
    out = base.parent / f"merged-{dtype}"
    merge_folders(base=base, adapter=adapter, out=out, dtype=dtype, workers=2)
    return out


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="attention"),
        pytest.param({"target_modules": ["q_a_proj"]}, id="one module"),
        pytest.param({"target_parameters": FUSED}, id="fused experts"),
        pytest.param({"use_rslora": True}, id="rank-stabilised"),
        pytest.param({"rank_pattern": {"o_proj": 8}, "alpha_pattern": {"o_proj": 3}}, id="patterns"),
        pytest.param({"modules_to_save": ["lm_head"]}, id="a module saved whole"),
    ],
)
def test_equals_peft(base: Path, adapter: Write, settings: dict[str, object]) -> None:
    folder = merged(base, adapter(**settings))
    ours, theirs = load_model(folder), load_model(base.parent / "peft")
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=2**-7, atol=1e-6, msg=name)


def test_untouched_tensors_and_files_are_the_base(base: Path, adapter: Write) -> None:
    folder = merged(base, adapter())
    before, after = load_model(base), load_model(folder)
    untouched = [name for name in before if not any(target in name for target in ATTENTION)]
    assert untouched
    assert all(torch.equal(before[name], after[name]) for name in untouched)
    assert load_json(folder / "config.json") == load_json(base / "config.json")
    assert (folder / "tokenizer_config.json").read_bytes() == (base / "tokenizer_config.json").read_bytes()
    assert not list(base.parent.glob("*.merging"))


@pytest.mark.parametrize("dtype", list(Dtype))
@pytest.mark.parametrize("source", ["base", "float8_base"])
def test_every_dtype_passes_the_gate(
    request: pytest.FixtureRequest, adapter: Write, source: str, dtype: Dtype
) -> None:
    base = request.getfixturevalue(source)
    folder, config = merged(base, adapter(), dtype), None
    measured = json.loads(
        verify_folders(base=base, adapter=base.parent / "adapter", merged=folder, dtype=dtype)
    )
    assert measured["tensors"]["adapted"] == 10
    config = load_json(folder / "config.json")
    is_float8 = dtype is Dtype.FLOAT8 or (dtype is Dtype.BASE and source == "float8_base")
    assert ("quantization_config" in config) == is_float8
    assert any(name.endswith("_scale_inv") for name in load_model(folder)) == is_float8
    index = load_json(folder / "model.safetensors.index.json")
    assert set(index["weight_map"]) == set(load_model(folder))


def test_an_adapted_float8_tensor_gets_fresh_scales(float8_base: Path, adapter: Write) -> None:
    folder = merged(float8_base, adapter())
    name = "model.layers.0.self_attn.o_proj.weight"
    before, after, block = load_model(float8_base), load_model(folder), BlockFormat()
    assert not torch.equal(before[f"{name}_scale_inv"], after[f"{name}_scale_inv"])
    full = [dequantize(model[name], model[f"{name}_scale_inv"], block) for model in (before, after)]
    peft = load_model(float8_base.parent / "peft")[name].float()
    assert (full[1] - peft).norm() < 0.1 * (full[0] - peft).norm()


def test_an_interrupted_merge_keeps_finished_files(
    base: Path, adapter: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune_converter.merge.shard import ShardWriter

    folder, write, written = adapter(), ShardWriter.write, []

    def stop_at_third(self: ShardWriter, name: str, *rest: object) -> object:
        written.append(name)
        if len(written) == 3:
            raise KeyboardInterrupt
        return write(self, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "write", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            merge_folders(base=base, adapter=folder, out=base.parent / "a", dtype=Dtype.BASE, workers=1)
    assert not (base.parent / "a").exists()
    again: list[str] = []
    monkeypatch.setattr(
        ShardWriter, "write", lambda self, name, *rest: again.append(name) or write(self, name, *rest)
    )
    merge_folders(base=base, adapter=folder, out=base.parent / "a", dtype=Dtype.BASE, workers=1)
    assert not set(again) & set(written[:2])
    merge_folders(base=base, adapter=folder, out=base.parent / "b", dtype=Dtype.BASE, workers=1)
    files = [load_json(base.parent / name / "MANIFEST.json")["files"] for name in ("a", "b")]
    assert files[0] == files[1]
