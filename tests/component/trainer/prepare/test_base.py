"""A base in the volume: accepted whole, refused with the file and the cause otherwise."""

import json
import os
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune_trainer.__main__ import main
from finetune_trainer.base.float8 import quantize
from finetune_trainer.contract.failure import DataError
from finetune_trainer.prepare.marker import MARKER, read_marker, require_complete

SHARD = "model-00001-of-00002.safetensors"


def termination(volume):
    return json.loads((volume.root.parent / "termination-log").read_text())


def test_a_whole_base_is_marked_and_the_data_reported(volume, copy_base, checksum):
    base = copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    marker = read_marker(base)
    assert marker.files[SHARD].sha256 == checksum(base / SHARD)
    assert set(marker.files) == {file.name for file in base.iterdir()} - {MARKER}
    prepared = json.loads((volume.run / "prepared.json").read_text())
    assert prepared["base"]["source"] == "models/tiny-base"
    source = {"source": "datasets/faq.jsonl", "revision": None}
    record = {"size": volume.dataset.stat().st_size, "sha256": checksum(volume.dataset)}
    record["modified"] = volume.dataset.stat().st_mtime_ns
    assert prepared["dataset"] == source | {"files": {"faq.jsonl": record}}
    assert prepared["parity"]["comparedWith"] == "DeepseekV3ForCausalLM"
    report = json.loads((volume.run / "data-report.json").read_text())
    assert [file["rows"] for file in report.pop("byFile")] == [3]
    assert [example["place"] for example in report.pop("examples")] == [f"faq.jsonl:{n}" for n in (1, 2, 3)]
    assert report == source | {
        "files": ["faq.jsonl"],
        "schemaVersion": 1,
        "split": "train",
        "lines": 3,
        "documents": 3,
        "tokens": 21,
        "trainedTokens": 6,
        "longestDocument": 7,
        "sequences": 1,
        "packedShare": 18 / 256,
        "epochSteps": 1,
        "lastStepSequences": 1,
        "sequenceLength": 256,
        "batchSequences": 8,
        "steps": 200,
        "validationDocuments": 0,
        "truncatedLines": 0,
        "tokensCut": 0,
        "dropped": {},
        "firstDropped": {},
    }


def test_what_is_prepared_is_left_alone(volume, copy_base):
    base = copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    before = {file: file.stat().st_mtime_ns for file in [base / MARKER, *volume.run.rglob("*.*")]}
    os.utime(volume.dataset)  # the same content, copied again
    assert main(["prepare", *volume.arguments]) == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_a_changed_base_is_checked_again(volume, copy_base):
    base = copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    os.truncate(base / SHARD, 1000)
    assert main(["prepare", *volume.arguments]) == 3
    assert not (base / MARKER).exists()


def drop_tensor(base, name):
    tensors = load_file(base / SHARD)
    del tensors[name]
    save_file(tensors, base / SHARD)


def reshape_tensor(base):
    tensors = load_file(base / SHARD)
    name = next(name for name in tensors if name.endswith("o_proj.weight"))
    tensors[name] = torch.zeros(8, 8, dtype=torch.bfloat16)
    save_file(tensors, base / SHARD)


def add_tensor(name, shape=(4,), dtype=torch.bfloat16):
    """Into a shard, and into the index or not: what loads a model reads all that is in its files."""

    def add(base):
        tensors = load_file(base / SHARD)
        tensors[name] = torch.zeros(shape, dtype=dtype)
        save_file(tensors, base / SHARD)

    return add


def retype_tensor(name, dtype):
    def retype(base):
        tensors = load_file(base / SHARD)
        tensors[name] = tensors[name].to(dtype)
        save_file(tensors, base / SHARD)

    return retype


def float8_tensor(name):
    def quantized(base):
        shard = next(file for file in base.glob("*.safetensors") if name in load_file(file))
        tensors = load_file(shard)
        tensors[name], tensors[f"{name}_scale_inv"] = quantize(tensors[name])
        save_file(tensors, shard)
        index = json.loads((base / "model.safetensors.index.json").read_text())
        index["weight_map"][f"{name}_scale_inv"] = shard.name
        (base / "model.safetensors.index.json").write_text(json.dumps(index))

    return quantized


def link_to_nowhere(base):
    (base / SHARD).unlink()
    (base / SHARD).symlink_to("../../blobs/0123abcd")


def as_cache(base):
    """The repository's folder of a Hugging Face cache, instead of a snapshot in it."""
    snapshot = base / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    for file in [file for file in base.iterdir() if file.is_file()]:
        file.rename(snapshot / file.name)


def only_tiktoken(base):
    (base / "tokenizer.json").unlink()
    (base / "tiktoken.model").write_text("")


def replace(name, content):
    return lambda base: (base / name).write_bytes(content)


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


def change_config(**fields):
    def change(base):
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps(config | fields))

    return change


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


def test_a_snapshot_of_links_is_a_base(volume, pristine_base, tmp_path):
    blobs = tmp_path / "blobs"
    shutil.copytree(pristine_base, blobs)
    volume.base.mkdir(parents=True)
    for file in blobs.iterdir():
        (volume.base / file.name).symlink_to(os.path.relpath(file, volume.base))
    assert main(["prepare", *volume.arguments]) == 0


def test_a_name_on_the_hub_is_suggested(volume):
    volume.document["model"]["uri"] = "deepseek-ai/DeepSeek-V3"
    volume.document["paths"]["base"] = "deepseek-ai/DeepSeek-V3"
    assert main(["prepare", *volume.arguments]) == 3
    assert "write hf://deepseek-ai/DeepSeek-V3" in termination(volume)["remedy"]


def test_the_flavor_that_fits_is_named(volume, copy_base):
    copy_base()
    volume.document["flavor"] = "deepseek_aghilora"
    assert main(["prepare", *volume.arguments]) == 2
    assert termination(volume)["remedy"] == "Use flavor tiny_lora"


def test_pickled_weights_are_not_weights(volume, copy_base):
    base = copy_base()
    for file in [*base.glob("*.safetensors"), base / "model.safetensors.index.json"]:
        file.unlink()
    (base / "pytorch_model.bin").write_bytes(b"pickle")
    assert main(["prepare", *volume.arguments]) == 3
    assert "weights in pickle" in termination(volume)["message"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda document: document["lora"].update(targets=["nothing"]), "nothing", id="target"),
        pytest.param(
            lambda document: document["training"].update(overrides={"no.such": 1}), "no.such", id="override"
        ),
        pytest.param(
            lambda document: document.update(flavor="405B"), "flavor: 405B does not exist", id="flavor"
        ),
        pytest.param(
            lambda document: document["model"].update(uri="gs://a/b"),
            "model.uri: gs://a/b is neither",
            id="uri",
        ),
        pytest.param(
            lambda document: document["model"].update(uri="hf://a"), "has not the form", id="hub-uri"
        ),
    ],
)
def test_a_wrong_configuration_is_told_before_anything_is_read(volume, change, message):
    change(volume.document)
    assert main(["prepare", *volume.arguments]) == 2
    assert message in termination(volume)["message"]


def test_training_refuses_a_base_without_its_marker(volume, copy_base):
    copy_base()
    assert main(["train", *volume.arguments]) == 3
    assert termination(volume)["reason"] == "BaseIncomplete"
    assert MARKER in termination(volume)["message"]


def test_training_refuses_a_run_that_is_not_prepared(volume, copy_base):
    copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    (volume.run / "prepared.json").unlink()
    assert main(["train", *volume.arguments]) == 3
    assert "has not been prepared" in termination(volume)["message"]


def test_a_file_that_is_gone_since_is_named(volume, copy_base):
    base = copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    (base / SHARD).unlink()
    with pytest.raises(DataError, match=SHARD):
        require_complete(base)


def test_a_damaged_marker_is_none(tmp_path):
    (tmp_path / MARKER).write_text('{"files": []}')
    assert read_marker(tmp_path) is None
