"""Bases that are refused, each with the file or field and the cause, and what changes nothing of one."""

import json
import os
import re
import shutil

import pytest
import torch
from damaged_bases import (
    LFS_POINTER,
    SHARD,
    add_tensor,
    as_cache,
    change_config,
    drop_tensor,
    float8_tensor,
    link_to_nowhere,
    only_tiktoken,
    replace,
    reshape_tensor,
    retype_tensor,
)

from finetune_trainer.__main__ import main
from finetune_trainer.prepare.marker import MARKER


def termination(volume):
    return json.loads((volume.root.parent / "termination-log").read_text())


@pytest.mark.parametrize(
    ("damage", "exit_code", "reason", "message"),
    [
        pytest.param(
            lambda base: os.truncate(base / SHARD, (base / SHARD).stat().st_size - 1),
            3,
            "BaseIncomplete",
            f"{SHARD}: .* bytes long, its header says .*: truncated or damaged",
            id="truncated",
        ),
        pytest.param(
            lambda base: os.truncate(base / SHARD, 100),
            3,
            "BaseIncomplete",
            f"{SHARD}: 100 bytes long, its header alone needs .*: truncated",
            id="truncated-in-the-header",
        ),
        pytest.param(
            lambda base: os.truncate(base / SHARD, 0),
            3,
            "BaseIncomplete",
            f"{SHARD}: 0 bytes long",
            id="empty",
        ),
        pytest.param(
            lambda base: (base / SHARD).write_bytes(b"no tensors " * 100),
            3,
            "BaseIncomplete",
            f"{SHARD}: not a safetensors file",
            id="not-safetensors",
        ),
        pytest.param(
            lambda base: (base / SHARD).unlink(),
            3,
            "BaseIncomplete",
            f"{SHARD}: missing, the index names it",
            id="missing-shard",
        ),
        pytest.param(
            lambda base: drop_tensor(base, "lm_head.weight"),
            3,
            "BaseIncomplete",
            f"{SHARD}: lm_head.weight is missing, the index says it is there",
            id="missing-tensor",
        ),
        pytest.param(reshape_tensor, 3, "BaseInvalid", r"o_proj.weight has shape \[8, 8\]", id="wrong-shape"),
        pytest.param(
            lambda base: (base / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../b"}}'),
            3,
            "BaseIncomplete",
            r"names '../b'",
            id="index-leaves-the-folder",
        ),
        pytest.param(
            lambda base: (base / "config.json").write_text("{"),
            3,
            "BaseIncomplete",
            "config.json",
            id="no-config",
        ),
        pytest.param(
            change_config(hidden_size=7168),
            2,
            "FlavorInvalid",
            "flavor tiny_lora does not fit .*config.json: hidden_size is 7168, the flavor needs 256",
            id="another-model",
        ),
        pytest.param(
            change_config(num_hidden_layers=61),
            2,
            "FlavorInvalid",
            "num_hidden_layers is 61",
            id="more-layers",
        ),
        pytest.param(
            lambda base: (base / "tokenizer.json").unlink(),
            3,
            "BaseInvalid",
            "tokenizer.json is missing",
            id="no-tokenizer",
        ),
        pytest.param(shutil.rmtree, 3, "BaseIncomplete", "no such folder", id="no-folder"),
        pytest.param(
            replace(SHARD, LFS_POINTER),
            3,
            "BaseIncomplete",
            f"{SHARD}: is a Git LFS pointer",
            id="lfs-weights",
        ),
        pytest.param(
            replace("tokenizer.json", LFS_POINTER),
            3,
            "BaseIncomplete",
            "tokenizer.json: is a Git LFS pointer",
            id="lfs-tokenizer",
        ),
        pytest.param(
            replace(SHARD, b"\n<!DOCTYPE HTML><html>"),
            3,
            "BaseIncomplete",
            f"{SHARD}: is an HTML page",
            id="html-weights",
        ),
        pytest.param(
            replace("config.json", b"<html>"),
            3,
            "BaseIncomplete",
            "config.json: is an HTML",
            id="html-config",
        ),
        pytest.param(
            replace("model.safetensors.index.json", b"<html>"),
            3,
            "BaseIncomplete",
            "index.json: is an HTML page",
            id="html-index",
        ),
        pytest.param(
            lambda base: (base / "model.safetensors.index.json").unlink(),
            3,
            "BaseIncomplete",
            "model.safetensors.index.json: missing, there are 2 files of weights",
            id="shards-without-index",
        ),
        pytest.param(
            lambda base: shutil.copy(base / SHARD, base / "model.safetensors"),
            3,
            "BaseInvalid",
            "model.safetensors: .* does not name it",
            id="stray-model",
        ),
        pytest.param(
            lambda base: (base / "adapter_config.json").write_text("{}"),
            3,
            "BaseInvalid",
            "holds an adapter",
            id="adapter-in-the-base",
        ),
        pytest.param(
            link_to_nowhere, 3, "BaseIncomplete", r"is a link to ../../blobs/0123abcd", id="dangling"
        ),
        pytest.param(
            as_cache,
            3,
            "BaseIncomplete",
            "a Hugging Face cache; the model is in snapshots/0123abcd",
            id="cache-of-a-repository",
        ),
        pytest.param(
            only_tiktoken,
            3,
            "BaseInvalid",
            r"tokenizer.json is missing; the tokenizer is there as tiktoken only \(tiktoken.model\)",
            id="tiktoken",
        ),
        pytest.param(
            replace("hf_quant_config.json", b"{}"), 3, "BaseInvalid", "NVIDIA ModelOpt", id="modelopt"
        ),
        pytest.param(
            change_config(model_type="llama"), 3, "BaseInvalid", "model_type is 'llama'", id="llama"
        ),
        pytest.param(
            change_config(attention_bias=True),
            3,
            "BaseInvalid",
            "attention_bias is True",
            id="attention-bias",
        ),
        pytest.param(
            add_tensor("model.layers.0.self_attn.indexer.wk.weight"),
            3,
            "BaseInvalid",
            "indexer.wk.weight has no place in the model: DeepSeek-V3.2",
            id="indexer",
        ),
        pytest.param(
            add_tensor("model.layers.1.self_attn.o_proj.bias"),
            3,
            "BaseInvalid",
            "o_proj.bias has no place in the model: biases",
            id="bias",
        ),
        pytest.param(
            add_tensor("model.layers.5.input_layernorm.weight"),
            3,
            "BaseInvalid",
            "layers.5.* has no place in the model: config.json says 4 layers",
            id="more-layers-than-config",
        ),
        pytest.param(
            add_tensor("vision.patch.weight"),
            3,
            "BaseInvalid",
            "vision.patch.weight has no place",
            id="vision",
        ),
        pytest.param(
            add_tensor("model.layers.1.mlp.experts.gate_up_proj"),
            3,
            "BaseInvalid",
            "experts fused into one tensor",
            id="fused-experts",
        ),
        pytest.param(
            change_config(
                quantization_config={
                    "quant_method": "fp8",
                    "fmt": "e4m3",
                    "weight_block_size": [128, 128],
                    "activation_scheme": "dynamic",
                }
            ),
            3,
            "BaseInvalid",
            "quantization_config says that weights are in FP8, but none is",
            id="fp8-in-the-config-only",
        ),
        pytest.param(
            float8_tensor("model.layers.0.self_attn.o_proj.weight"),
            3,
            "BaseInvalid",
            "quantization_config is missing, but model.layers.0.self_attn.o_proj.weight is in FP8",
            id="fp8-in-the-weights-only",
        ),
        pytest.param(
            retype_tensor("lm_head.weight", torch.int8),
            3,
            "BaseInvalid",
            "is of type I8; BF16",
            id="integers",
        ),
    ],
)
def test_a_wrong_base_is_named(volume, copy_base, damage, exit_code, reason, message, capsys):
    base = copy_base()
    damage(base)
    assert main(["prepare", *volume.arguments]) == exit_code
    told = termination(volume)
    assert told["reason"] == reason
    assert re.search(message, told["message"])
    assert "Traceback" not in capsys.readouterr().err
    assert not (base / MARKER).exists()
    assert not (volume.run / "prepared.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(add_tensor("model.layers.4.eh_proj.weight"), id="multi-token-prediction"),
        pytest.param(add_tensor("model.layers.0.self_attn.rotary_emb.inv_freq"), id="derived-frequencies"),
        pytest.param(change_config(rope_scaling=None), id="plain-rope"),
    ],
)
def test_what_changes_nothing_is_taken(volume, copy_base, change):
    change(copy_base())
    assert main(["prepare", *volume.arguments]) == 0
