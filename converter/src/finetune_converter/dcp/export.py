"""A torchtitan step folder as Hugging Face files: a model, or PEFT's adapter where there are LoRA keys."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch

from finetune_converter.adapter.adapter import WEIGHTS
from finetune_converter.adapter.config import CONFIG
from finetune_converter.arithmetic.bands import BAND_ELEMENTS
from finetune_converter.arithmetic.finite import all_finite
from finetune_converter.dcp.folder import DcpFolder, rows_of_band
from finetune_converter.dcp.metadata import StoredTensor
from finetune_converter.dcp.names import hf_names, peft_name
from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import copy_file, publish, write_json
from finetune_converter.merge.base import check_base
from finetune_converter.model_files.companions import carried_files
from finetune_converter.model_files.dequantized import DequantizedTensor
from finetune_converter.model_files.dtypes import FLOAT8
from finetune_converter.model_files.export_dtype import Dtype, merged_config
from finetune_converter.model_files.hashed_writer import HashedWriter
from finetune_converter.model_files.header_bytes import TensorSpec, encode_header
from finetune_converter.model_files.model_folder import INDEX, ModelFolder, open_model_folder
from finetune_converter.model_files.quantization import SCALE, block_format
from finetune_converter.model_files.torch_dtypes import TORCH, as_bytes

# PEFT takes these among target_modules to mean routed experts only, of which torchtitan adapts none.
_MLP = frozenset({"gate_proj", "up_proj", "down_proj"})
_REMEDY = "Give the base that this checkpoint was trained on"


def export_dcp(*, checkpoint: Path, base: Path, out: Path, alpha: float | None) -> str:
    """Write `out`, which appears by one rename; "model" or "adapter". Raises Failure."""
    if out.exists():
        raise Failure(Reason.SETTING_INVALID, f"--out: {out} is there already", "Give a new folder")
    part = out.with_name(f"{out.name}.part")
    with open_model_folder(base) as model, DcpFolder(checkpoint) as source:
        check_base(model)
        part.mkdir(parents=True, exist_ok=True)
        lora = [name for name in source.tensors if ".lora_" in name or "_lora_" in name]
        lora = [name for name in lora if not name.startswith("optimizer.")]
        if lora:
            _write_adapter(source, sorted(lora), model, alpha, part)
        else:
            _write_model(source, model, part)
    publish(part, out)
    return "adapter" if lora else "model"


def _write_adapter(
    source: DcpFolder, names: list[str], base: ModelFolder, alpha: float | None, out: Path
) -> None:
    """adapter_config.json and weights in fp32: `finetune-convert merge` takes it from there."""
    if alpha is None:
        raise Failure(
            Reason.SETTING_INVALID,
            f"--alpha missing: {source.path} holds LoRA matrices, and a checkpoint does not say their alpha",
            "Give the LoRAConverter's alpha",
        )
    layers = int(base.config["num_hidden_layers"])
    found = {}
    for name in names:
        peft = peft_name(name, layers)
        if peft is None:
            raise Failure(
                Reason.CHECKPOINT_INVALID,
                f"{source.path}: tensor {name!r} is a LoRA matrix of no linear layer of DeepSeek-V3",
                "Use this project's adapter/ folder instead",
            )
        found[peft] = source.tensors[name]
    ranks = {tensor.shape[0] for name, tensor in found.items() if ".lora_A." in name}
    if len(ranks) != 1:
        raise Failure(
            Reason.CHECKPOINT_INVALID, f"{source.path}: LoRA ranks {sorted(ranks)}", "Train with one rank"
        )
    specs = [TensorSpec(name=name, dtype="F32", shape=tensor.shape) for name, tensor in found.items()]
    _write_file(out / WEIGHTS, specs, lambda name: _rows(source, found[name]))
    modules = {name.rsplit(".", 3)[1] for name in found}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base.path),
        "r": ranks.pop(),
        "lora_alpha": alpha,
        "target_modules": sorted(modules - _MLP),
        "target_parameters": sorted(f"{module}.weight" for module in modules & _MLP),
        "bias": "none",
    }
    write_json(out / CONFIG, config)


def _write_model(source: DcpFolder, base: ModelFolder, out: Path) -> None:
    """The base's files, names and order; values of the checkpoint in the base's dtypes, FP8 as bfloat16."""
    layers = int(base.config["num_hidden_layers"])
    experts = int(base.config.get("n_routed_experts") or 0)
    stored = {
        hf: (tensor, expert)
        for tensor in source.tensors.values()
        for hf, expert in hf_names(tensor.name, experts, layers)
    }
    weight_map: dict[str, str] = {}
    for name, file in base.files.items():
        specs = []
        for entry in file.header.tensors.values():
            if entry.name.removesuffix(SCALE) in base.tensors and entry.name.endswith(SCALE):
                continue
            dtype = "BF16" if entry.dtype == FLOAT8 else entry.dtype
            specs.append(TensorSpec(name=entry.name, dtype=dtype, shape=entry.shape))
        _write_file(out / name, specs, lambda name: _tensor(source, base, stored.get(name), name, layers))
        weight_map |= dict.fromkeys((spec.name for spec in specs), name)
    write_json(out / INDEX, {"metadata": {}, "weight_map": weight_map})
    write_json(out / "config.json", merged_config(base.config, Dtype.BFLOAT16, block_format(base.config)))
    for name in carried_files(base.path):
        copy_file(base.path / name, out / name)


def _tensor(
    source: DcpFolder,
    base: ModelFolder,
    stored: tuple[StoredTensor, int | None] | None,
    name: str,
    layers: int,
) -> Iterator[torch.Tensor]:
    """fp32 bands of a tensor; of the MTP layer, which torchtitan may not have trained, the base's."""
    located = base.tensors[name]
    if stored is None:
        if not any(name.startswith(f"model.layers.{layers + extra}.") for extra in range(4)):
            raise Failure(
                Reason.CHECKPOINT_INVALID, f"{source.path}: nothing in it is the base's {name!r}", _REMEDY
            )
        scales = base.tensors.get(name + SCALE) if located.entry.dtype == FLOAT8 else None
        return iter(DequantizedTensor(base, located, scales, block_format(base.config)))
    tensor, expert = stored
    shape = tensor.shape if expert is None else tensor.shape[1:]
    if shape != located.entry.shape or (expert is not None and expert >= tensor.shape[0]):
        raise Failure(
            Reason.CHECKPOINT_INVALID,
            f"{source.path}: tensor {tensor.name!r} is {list(tensor.shape)}, "
            f"the base's {name!r} {list(located.entry.shape)}",
            _REMEDY,
        )
    if expert is None:
        return _rows(source, tensor)
    return iter((source.read(tensor, expert, expert + 1)[0],))


def _rows(source: DcpFolder, tensor: StoredTensor) -> Iterator[torch.Tensor]:
    step = rows_of_band(tensor, BAND_ELEMENTS)
    for start in range(0, tensor.shape[0], step):
        yield source.read(tensor, start, min(start + step, tensor.shape[0]))


def _write_file(
    path: Path, specs: Iterable[TensorSpec], read: Callable[[str], Iterator[torch.Tensor]]
) -> None:
    specs = [*specs]
    writer = HashedWriter(path)
    try:
        writer.write(encode_header(specs, {"format": "pt"}))
        for spec in specs:
            for band in read(spec.name):
                values = band.to(TORCH[spec.dtype])
                if not all_finite(values):
                    raise Failure(
                        Reason.CHECKPOINT_INVALID,
                        f"tensor {spec.name!r}: it has values that are not finite",
                        "Give an earlier step",
                    )
                writer.write(as_bytes(values))
        writer.finish()
    finally:
        writer.close()
