import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from finetune_trainer.base.float8 import BLOCK
from finetune_trainer.base.tensors import BaseTensors
from finetune_trainer.contract.failure import DataError

FP8 = torch.float8_e4m3fn
WHOLE = (slice(0, 576), slice(0, 300))


def _quantized(rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """FP8 values, the scales of their blocks, and what they stand for."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(rows, columns, generator=generator).to(FP8)
    scales = torch.rand(-(-rows // BLOCK), -(-columns // BLOCK), generator=generator) + 0.5
    expanded = scales.repeat_interleave(BLOCK, 0)[:rows].repeat_interleave(BLOCK, 1)[:, :columns]
    return values, scales, values.float() * expanded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of two files: bfloat16 in the first, ragged FP8 blocks in the second."""
    values, scales, _ = _quantized(576, 300)
    first = {"norm.weight": torch.arange(8, dtype=torch.bfloat16)}
    second = {"kv.weight": values, "kv.weight_scale_inv": scales, "bare.weight": values.clone()}
    save_file(first, tmp_path / "a.safetensors")
    save_file(second, tmp_path / "b.safetensors")
    weight_map = dict.fromkeys(first, "a.safetensors") | dict.fromkeys(second, "b.safetensors")
    weight_map |= {"lost.weight": "b.safetensors", "gone.weight": "c.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return tmp_path


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(WHOLE, id="whole, with a smaller last block"),
        pytest.param((slice(0, 128), slice(0, 128)), id="one block"),
        pytest.param((slice(288, 576), slice(0, 300)), id="half of the rows, within a block"),
        pytest.param((slice(100, 140), slice(120, 260)), id="parts of blocks"),
    ],
)
def test_float8_slices_are_dequantised(folder: Path, part: tuple[slice, slice]) -> None:
    _, _, expected = _quantized(576, 300)
    assert torch.equal(BaseTensors(folder).read("kv.weight", part), expected[part])


@pytest.mark.parametrize(
    ("counts", "part", "blocks"),
    [
        pytest.param((5, 3), (slice(1, 3), slice(0, 3)), ([1, 2], [0, 1, 2]), id="a scale a block"),
        pytest.param((9, 3), (slice(3, 6), slice(1, 2)), ([1, 2, 2], [1]), id="two a block of rows"),
        pytest.param((18, 3), (slice(9, 18), slice(0, 1)), ([2, 2, 2, 3, 3, 3, 3, 4, 4], [0]), id="four"),
    ],
)
def test_scales_are_repeated_where_blocks_are_cut(
    folder: Path, counts: tuple[int, int], part: tuple[slice, slice], blocks: tuple[list[int], list[int]]
) -> None:
    _, scales, _ = _quantized(576, 300)
    rows, columns = blocks
    read = BaseTensors(folder).read_scales("kv.weight", part, counts, torch.device("cpu"))
    assert torch.equal(read, scales[rows][:, columns])


def test_other_tensors_keep_their_type(folder: Path) -> None:
    part = BaseTensors(folder).read("norm.weight", (slice(2, 5),))
    assert part.tolist() == [2, 3, 4]
    assert part.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        pytest.param("norm.weight", (9,), r"a.safetensors: norm.weight has shape \[8\]", id="shape"),
        pytest.param("absent.weight", (1,), "index.json: absent.weight is missing", id="not in the index"),
        pytest.param("lost.weight", (1,), "b.safetensors: lost.weight is missing", id="not in its file"),
        pytest.param("gone.weight", (1,), "c.safetensors is not a whole safetensors file", id="no file"),
        pytest.param("bare.weight", (576, 300), "bare.weight_scale_inv is missing", id="no scale"),
    ],
)
def test_what_does_not_fit_is_named(folder: Path, name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        BaseTensors(folder).check(name, shape)


def test_truncated_file_is_named(folder: Path) -> None:
    file = folder / "b.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"b.safetensors is not a whole safetensors file"):
        BaseTensors(folder).check("kv.weight", (576, 300))
