"""Changed files of a merged folder, each vouched for by its manifest: only their own check can notice."""

import json
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file
from small_deepseek import load_json, load_model

from finetune_converter.files.digest import digest_file

INDEX = "model.safetensors.index.json"


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


def lose_the_tokenizer(folder: Path, _: Path) -> None:
    (folder / "tokenizer_config.json").unlink()


def announce_float8(folder: Path, _: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]})


def announce_another_depth(folder: Path, _: Path) -> None:
    change_config(folder, num_hidden_layers=1)


def put(folder: Path, name: str, text: str) -> None:
    """Write a file that the manifest vouches for."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text(text)
    list_again(folder, name)


def drop(folder: Path, name: str) -> None:
    """Remove a file from folder and manifest."""
    (folder / name).unlink()
    manifest = load_json(folder / "MANIFEST.json")
    del manifest["files"][name]
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))


def swap_the_tokenizer(folder: Path, _: Path) -> None:
    put(folder, "tokenizer.json", json.dumps({"model": {"vocab": {"b": 3, "a": 4}}}))


def swap_the_template(folder: Path, _: Path) -> None:
    put(folder, "chat_template.jinja", "{{ messages[0] }}")


def empty_the_tokenizer_config(folder: Path, _: Path) -> None:
    put(folder, "tokenizer_config.json", "{}")


def change_generation(folder: Path, **fields: object) -> None:
    content = load_json(folder / "generation_config.json")
    put(folder, "generation_config.json", json.dumps({**content, **fields}))


def remove_eos(folder: Path, _: Path) -> None:
    change_generation(folder, eos_token_id=None)


def sample_hotter(folder: Path, _: Path) -> None:
    change_generation(folder, temperature=3.0, do_sample=True)


def drop_the_generation_config(folder: Path, _: Path) -> None:
    drop(folder, "generation_config.json")


def drop_the_template(folder: Path, _: Path) -> None:
    drop(folder, "chat_template.jinja")


def add_the_adapter(folder: Path, base: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_bytes((base.parent / "adapter" / name).read_bytes())
        list_again(folder, name)


def add_a_single_file_model(folder: Path, base: Path) -> None:
    save_file(load_model(base), folder / "model.safetensors", {"format": "pt"})
    list_again(folder, "model.safetensors")


def link_a_weight_file(folder: Path, base: Path) -> None:
    file = max(folder.glob("*.safetensors"))
    elsewhere = base.parent / "elsewhere.safetensors"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def add_an_unlisted_file(folder: Path, _: Path) -> None:
    (folder / "notes.txt").write_text("x")


def add_a_second_index(folder: Path, _: Path) -> None:
    put(folder, "pytorch_model.bin.index.json", json.dumps({"weight_map": {}}))


def add_a_gguf(folder: Path, _: Path) -> None:
    put(folder, "model-q4.gguf", "GGUF")


def add_code(folder: Path, _: Path) -> None:
    put(folder, "modeling_deepseek.py", "import os")


def name_code(folder: Path, _: Path) -> None:
    change_config(folder, auto_map={"AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM"})


def nest_a_model(folder: Path, _: Path) -> None:
    put(folder, "original/consolidated.safetensors", "x")


def hide_a_file(folder: Path, _: Path) -> None:
    put(folder, ".env", "x")


def invent_special_tokens(folder: Path, _: Path) -> None:
    put(folder, "added_tokens.json", json.dumps({"<tool>": 5}))


def rewrite_the_base_card(folder: Path, _: Path) -> None:
    put(folder, "BASE_README.md", "# Another licence\n")


def change_manifest(folder: Path, **fields: object) -> None:
    manifest = load_json(folder / "MANIFEST.json")
    (folder / "MANIFEST.json").write_text(json.dumps({**manifest, **fields}))


def climb_out(folder: Path, _: Path) -> None:
    listed = load_json(folder / "MANIFEST.json")["files"]
    change_manifest(folder, files={**listed, "../base/config.json": {"sha256": "0", "size": 1}})


def empty_the_manifest(folder: Path, _: Path) -> None:
    change_manifest(folder, files={})


def change_lineage(folder: Path, **fields: object) -> None:
    lineage = load_json(folder / "MANIFEST.json")["lineage"]
    change_manifest(folder, lineage={**lineage, **fields})


def claim_another_adapter(folder: Path, _: Path) -> None:
    change_lineage(folder, adapterSha256="0" * 64)


def claim_another_dtype(folder: Path, _: Path) -> None:
    change_lineage(folder, dtype="float16")


def claim_another_version(folder: Path, _: Path) -> None:
    change_manifest(folder, schemaVersion=9)


def rewrite_the_card(folder: Path, _: Path) -> None:
    put(folder, "README.md", "# Another model\n")


def drop_the_card(folder: Path, _: Path) -> None:
    drop(folder, "README.md")


def change_index(folder: Path, **fields: object) -> None:
    index = load_json(folder / INDEX)
    put(folder, INDEX, json.dumps({**index, **fields}))


def unlist_a_tensor(folder: Path, _: Path) -> None:
    """Its file is listed all the same, for the others that it holds."""
    listed = load_json(folder / INDEX)["weight_map"]
    change_index(folder, weight_map={name: file for name, file in listed.items() if "o_proj" not in name})


def count_fewer_bytes(folder: Path, _: Path) -> None:
    change_index(folder, metadata={"total_size": 1})


def say_tensorflow(folder: Path, _: Path) -> None:
    """transformers reads the format from a file's metadata."""
    file = min(folder.glob("*.safetensors"))
    tensors = load_file(file)
    file.unlink()
    save_file(tensors, file, {"format": "tf"})
    list_again(folder, file.name)


def say_another_dtype(folder: Path, _: Path) -> None:
    change_config(folder, dtype="float32")


def name_more_words(folder: Path, _: Path) -> None:
    change_config(folder, eos_token_id=[1, 9])


def keep_all_out(folder: Path, _: Path) -> None:
    config = load_json(folder / "config.json")["quantization_config"]
    change_config(folder, quantization_config={**config, "modules_to_not_convert": ["self_attn"]})


def announce_other_blocks(folder: Path, _: Path) -> None:
    config = load_json(folder / "config.json")["quantization_config"]
    change_config(folder, quantization_config={**config, "weight_block_size": [64, 64]})
