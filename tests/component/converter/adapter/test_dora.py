"""DoRA: rows scaled to the norms that were trained, in every dtype; what the gate and the reader refuse."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft_adapters import change_config, change_tensors, merged_by_peft, tensors_of, write_adapter
from small_deepseek import ATTENTION
from verified_merge import merged

from finetune_converter.adapter.served import check_served
from finetune_converter.arithmetic.update import LowRankTensors
from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

MAGNITUDE = ".lora_magnitude_vector"
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "adapter", use_dora=True, target_modules=ATTENTION)


@pytest.mark.parametrize("dtype", [Dtype.BFLOAT16, Dtype.FLOAT8])
def test_other_dtypes_pass_the_gate(float32: Path, adapter: Path, tmp_path: Path, dtype: Dtype) -> None:
    merge_folders(base=float32, adapter=adapter, out=tmp_path / "out", dtype=dtype, workers=1)
    verify_folders(base=float32, adapter=adapter, merged=tmp_path / "out", dtype=dtype)


def test_the_norms_of_a_whole_merge(float32: Path, adapter: Path, tmp_path: Path) -> None:
    trained = tensors_of(adapter)
    ours, theirs = merged(float32, adapter), merged_by_peft(adapter, tmp_path / "peft")
    for name in (name for name in trained if name.endswith(MAGNITUDE)):
        weight = name.removeprefix("base_model.model.").replace(MAGNITUDE, ".weight")
        torch.testing.assert_close(ours[weight].norm(dim=1), trained[name].abs())
        torch.testing.assert_close(ours[weight], theirs[weight])


def _unscaled(self: LowRankTensors, band: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    return band.addmm_(self.b[start:stop], self.a, alpha=self.scale)


def _by_columns(self: LowRankTensors, band: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    summed = _unscaled(self, band, start, stop)
    assert self.magnitude is not None
    return summed.mul_(self.magnitude[start:stop].unsqueeze(1) / summed.norm())


def _of_the_base(self: LowRankTensors, band: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    before = band.norm(dim=1)
    assert self.magnitude is not None
    return _unscaled(self, band, start, stop).mul_((self.magnitude[start:stop] / before).unsqueeze(1))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(_unscaled, id="not scaled"),
        pytest.param(_by_columns, id="one norm for all rows"),
        pytest.param(_of_the_base, id="norms of the base"),
    ],
)
def test_the_gate_catches(
    float32: Path,
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[..., torch.Tensor],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LowRankTensors, "add_to", wrong)
        merge_folders(base=float32, adapter=adapter, out=tmp_path / "out", dtype=Dtype.BFLOAT16, workers=1)
    with pytest.raises(Failure, match="differ from base"):
        verify_folders(base=float32, adapter=adapter, merged=tmp_path / "out", dtype=Dtype.BFLOAT16)


def _without_one(tensors: Tensors) -> Tensors:
    lost = next(name for name in tensors if name.endswith(MAGNITUDE))
    return {name: tensor for name, tensor in tensors.items() if name != lost}


def _without_factors(tensors: Tensors) -> Tensors:
    name = next(name for name in tensors if name.endswith(MAGNITUDE))
    module = name.removesuffix(MAGNITUDE)
    return {other: t for other, t in tensors.items() if other == name or not other.startswith(module)}


def _too_short(tensors: Tensors) -> Tensors:
    return {name: t[:-1] if name.endswith(MAGNITUDE) else t for name, t in tensors.items()}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(_without_one, "no lora_magnitude_vector beside it", id="one lost"),
        pytest.param(_without_factors, "no lora_A and lora_B", id="factors lost"),
        pytest.param(_too_short, "no norm for each of the rows", id="of other rows"),
    ],
)
def test_what_is_not_whole_is_refused(
    float32: Path, adapter: Path, change: Callable[[Tensors], Tensors], problem: str
) -> None:
    change_tensors(adapter, change(tensors_of(adapter)))
    with pytest.raises(Failure, match=problem):
        merged(float32, adapter)


def test_magnitudes_of_a_plain_adapter_are_refused(float32: Path, adapter: Path) -> None:
    change_config(adapter, use_dora=False)
    with pytest.raises(Failure, match=r"lora_magnitude_vector.*use_dora is not set"):
        merged(float32, adapter)


def test_vllm_does_not_serve_dora_unmerged(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="vLLM does not serve DoRA unmerged"):
        check_served(write_adapter(tmp_path / "adapter", use_dora=True))


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="plain"),
        # vLLM scales each module as PEFT does (0.32.0, lora/peft_helper.py, get_rank_and_scaling).
        pytest.param({"rank_pattern": {"o_proj": 8}, "alpha_pattern": {"o_proj": 3}}, id="patterns"),
    ],
)
def test_what_is_served_as_it_was_trained(tmp_path: Path, settings: dict[str, Any]) -> None:
    check_served(write_adapter(tmp_path / "adapter", **settings))
