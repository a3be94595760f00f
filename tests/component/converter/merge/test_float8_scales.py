"""Scales that are powers of two (ue8m0), as DeepSeek-V3.1 has them: in float32 or as E8M0."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_deepseek import load_model

from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

O_PROJ = "model.layers.0.self_attn.o_proj.weight"


@pytest.mark.parametrize("stored", [torch.float32, torch.float8_e8m0fnu])
@pytest.mark.parametrize("dtype", [Dtype.BASE, Dtype.FLOAT8, Dtype.BFLOAT16])
def test_scales_stay_powers_of_two(
    ue8m0_base: Path, adapter: Callable[..., Path], stored: torch.dtype, dtype: Dtype
) -> None:
    for file in ue8m0_base.glob("*.safetensors"):
        tensors = load_file(file)
        scales = {name: t.to(stored) for name, t in tensors.items() if name.endswith("_scale_inv")}
        save_file({**tensors, **scales}, file, {"format": "pt"})
    lora, out = adapter(), ue8m0_base.parent / "out"
    merge_folders(base=ue8m0_base, adapter=lora, out=out, dtype=dtype, workers=1)
    verify_folders(base=ue8m0_base, adapter=lora, merged=out, dtype=dtype)
    merged = load_model(out)
    if dtype is Dtype.BFLOAT16:
        assert f"{O_PROJ}_scale_inv" not in merged
        return
    scale = merged[f"{O_PROJ}_scale_inv"]
    assert scale.dtype == stored
    assert bool((torch.frexp(scale.float()).mantissa == 0.5).all())
    assert merged[O_PROJ].dtype == torch.float8_e4m3fn
