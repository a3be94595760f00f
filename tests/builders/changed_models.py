"""Changes of a merged folder, each vouched for by its manifest: only the check of what changed can notice."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from small_deepseek import load_json, load_model

from finetune_converter.files.digest import digest_file

O_PROJ = "model.layers.0.self_attn.o_proj.weight"
_EXPERT = "model.layers.1.mlp.experts.{}.up_proj.weight"
_EMBEDDINGS = "model.embed_tokens.weight"


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
    edit(folder, _EMBEDDINGS, lambda t: t * 1.01)


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
    edit(folder, _EXPERT.format(0), lambda _: tensors[_EXPERT.format(1)])
    edit(folder, _EXPERT.format(1), lambda _: tensors[_EXPERT.format(0)])


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


def climb_out(folder: Path, _: Path) -> None:
    manifest = load_json(folder / "MANIFEST.json")
    manifest["files"]["../base/config.json"] = {"sha256": "0", "size": 1}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))


def empty_the_manifest(folder: Path, _: Path) -> None:
    manifest = load_json(folder / "MANIFEST.json")
    (folder / "MANIFEST.json").write_text(json.dumps({**manifest, "files": {}}))


def claim_another_adapter(folder: Path, _: Path) -> None:
    manifest = load_json(folder / "MANIFEST.json")
    manifest["lineage"]["adapterSha256"] = "0" * 64
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))


def swap_two_layers(folder: Path, _: Path) -> None:
    tensors, name = load_model(folder), "model.layers.{}.self_attn.kv_b_proj.weight"
    edit(folder, name.format(0), lambda _: tensors[name.format(1)])
    edit(folder, name.format(1), lambda _: tensors[name.format(0)])


def swap_gate_and_up(folder: Path, _: Path) -> None:
    tensors, name = load_model(folder), "model.layers.0.mlp.{}_proj.weight"
    edit(folder, name.format("gate"), lambda _: tensors[name.format("up")])
    edit(folder, name.format("up"), lambda _: tensors[name.format("gate")])


def bias_the_router(folder: Path, _: Path) -> None:
    edit(folder, "model.layers.1.mlp.gate.e_score_correction_bias", lambda t: t + 1)


def round_down(folder: Path, _: Path) -> None:
    """Toward zero, by a unit: what a cast that truncates gives half of all values."""
    edit(folder, O_PROJ, lambda t: (t.view(torch.int16) - 1).view(torch.bfloat16))


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


def uneven_scale(folder: Path, _: Path) -> None:
    """No power of two, though the values are those of the scale."""
    scales, values = (load_model(folder)[name] for name in (f"{O_PROJ}_scale_inv", O_PROJ))
    edit(folder, f"{O_PROJ}_scale_inv", lambda _: scales * 1.5)
    edit(folder, O_PROJ, lambda _: (values.float() / 1.5).to(torch.float8_e4m3fn))
