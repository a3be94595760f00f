"""Changed tensors of a merged folder, each vouched for by its manifest: only their own check can notice."""

from collections.abc import Callable
from pathlib import Path

import torch
from changed_files import list_again
from safetensors.torch import load_file, save_file
from small_deepseek import load_model

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


def uneven_scale(folder: Path, _: Path) -> None:
    """No power of two, though the values are those of the scale."""
    scales, values = (load_model(folder)[name] for name in (f"{O_PROJ}_scale_inv", O_PROJ))
    edit(folder, f"{O_PROJ}_scale_inv", lambda _: scales * 1.5)
    edit(folder, O_PROJ, lambda _: (values.float() / 1.5).to(torch.float8_e4m3fn))
