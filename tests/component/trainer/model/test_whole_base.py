"""The 671B as it is published, in sparse files: the plan reads every tensor once, and no other."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from finetune_trainer.base.tensors import BaseTensors
from finetune_trainer.model.base_loader import check_tensor, frozen_tensors, planned_reads
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.frozen.settings import FrozenSettings
from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.names import CheckpointNames

LAYERS, DENSE_LAYERS, EXPERTS, DIM, HIDDEN = 61, 3, 256, 7168, 2048
FILES = 163
BYTES = {"F8_E4M3": 1, "BF16": 2, "F32": 4}

Shape = tuple[int, ...]


def published() -> Iterator[tuple[str, str, Shape]]:
    """Name, type and shape of every tensor that the layers, embedding and head are made of."""
    yield "model.embed_tokens.weight", "BF16", (129280, DIM)
    yield "model.norm.weight", "BF16", (DIM,)
    yield "lm_head.weight", "BF16", (129280, DIM)
    for layer in range(LAYERS):
        for name, shape in _layer(layer):
            whole = f"model.layers.{layer}.{name}"
            if name.endswith(("proj.weight", "with_mqa.weight")):
                yield whole, "F8_E4M3", shape
                yield f"{whole}_scale_inv", "F32", tuple(-(-size // 128) for size in shape)
            else:
                yield whole, "F32" if name.endswith("bias") else "BF16", shape


def _layer(layer: int) -> Iterator[tuple[str, Shape]]:
    yield "input_layernorm.weight", (DIM,)
    yield "post_attention_layernorm.weight", (DIM,)
    yield "self_attn.q_a_proj.weight", (1536, DIM)
    yield "self_attn.q_a_layernorm.weight", (1536,)
    yield "self_attn.q_b_proj.weight", (128 * 192, 1536)
    yield "self_attn.kv_a_proj_with_mqa.weight", (576, DIM)
    yield "self_attn.kv_a_layernorm.weight", (512,)
    yield "self_attn.kv_b_proj.weight", (128 * 256, 512)
    yield "self_attn.o_proj.weight", (DIM, 128 * 128)
    if layer < DENSE_LAYERS:
        yield from _feed_forward("mlp", 18432)
        return
    yield "mlp.gate.weight", (EXPERTS, DIM)
    yield "mlp.gate.e_score_correction_bias", (EXPERTS,)
    yield from _feed_forward("mlp.shared_experts", HIDDEN)
    for expert in range(EXPERTS):
        yield from _feed_forward(f"mlp.experts.{expert}", HIDDEN)


def _feed_forward(name: str, hidden: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.gate_proj.weight", (hidden, DIM)
    yield f"{name}.up_proj.weight", (hidden, DIM)
    yield f"{name}.down_proj.weight", (DIM, hidden)


def write_sparse(folder: Path) -> set[str]:
    """Write headers and holes: 0.7 TB by the files' length, some MB on disk. The names that are there."""
    tensors = [*published(), ("model.layers.61.eh_proj.weight", "BF16", (DIM, 2 * DIM))]
    weight_map = {}
    for index in range(FILES):
        file, header, end = f"model-{index + 1:05}-of-{FILES:06}.safetensors", {}, 0
        for name, dtype, shape in tensors[index::FILES]:
            size = BYTES[dtype] * torch.Size(shape).numel()
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
            end += size
            weight_map[name] = file
        text = json.dumps(header).encode()
        with (folder / file).open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            stream.truncate(8 + len(text) + end)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return set(weight_map)


@pytest.mark.parametrize("float8", [pytest.param(False, id="bfloat16"), pytest.param(True, id="float8")])
def test_every_tensor_is_read_once(tmp_path: Path, float8: bool) -> None:
    present = write_sparse(tmp_path)
    converter = LoRAConverter.Config(
        lora=LoRASettings(rank=16, alpha=32.0),
        targets=("attention",),
        base_dtype="bfloat16",
        frozen=FrozenSettings(dtype="float8" if float8 else "precision"),
    )
    config = converter.build().convert(build_model_config("671B_lora", device="cpu"))
    with torch.device("meta"):
        model: FrozenBaseModel = config.build()
    names, tensors = CheckpointNames.of(config), BaseTensors(tmp_path)
    reads: Counter[str] = Counter()
    for name, tensor in frozen_tensors(model):
        check_tensor(name, tensor, names, tensors)
        for read in planned_reads(name, tensor, names):
            assert read.target.shape == tuple(piece.stop - piece.start for piece in read.part)
            reads[read.hf_name + "_scale_inv" * (read.scales is not None)] += 1
    if not float8:  # a scale is then read with its weight
        reads.update(name for name in present if name.endswith("_scale_inv"))
    assert set(reads.values()) == {1}
    assert set(reads) == present - {"model.layers.61.eh_proj.weight"}
