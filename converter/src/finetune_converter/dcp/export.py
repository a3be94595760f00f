"""A torchtitan step folder as Hugging Face files: a model, or PEFT's adapter where there are LoRA keys."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import torch

from finetune_converter.adapter.adapter import WEIGHTS
from finetune_converter.adapter.config import CONFIG
from finetune_converter.dcp.folder import DcpFolder
from finetune_converter.dcp.names import layout, peft_name, plain_name
from finetune_converter.dcp.own_base import base_for
from finetune_converter.dcp.stored import check_is_dcp, is_hugging_face, lora_names
from finetune_converter.dcp.weights import DcpWeights, HuggingFaceWeights, Weights, dequantized, rows
from finetune_converter.dcp.writing import write_tensors
from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import copy_file, publish, write_json
from finetune_converter.merge.base import check_base
from finetune_converter.model_files.companions import carried_files
from finetune_converter.model_files.dtypes import FLOAT8
from finetune_converter.model_files.export_dtype import Dtype, merged_config
from finetune_converter.model_files.header_bytes import TensorSpec
from finetune_converter.model_files.model_folder import INDEX, ModelFolder, open_model_folder
from finetune_converter.model_files.quantization import SCALE, block_format

logger = logging.getLogger(__name__)
# PEFT takes these among target_modules to mean routed experts only, of which torchtitan adapts none.
_MLP = frozenset({"gate_proj", "up_proj", "down_proj"})
_REMEDY = "Give the base that this checkpoint was trained on"


def export_dcp(
    *, checkpoint: Path, base: Path, out: Path, alpha: float | None, flavor: str | None = None
) -> str:
    """Write `out`, which appears by one rename; "model" or "adapter". Raises Failure.

    base: a model, or config.json and tokenizer alone: the weights are then the checkpoint's (OUT.base).
    """
    if out.exists():
        raise Failure(f"--out: {out} is there already", Reason.SETTING_INVALID, "Give a new folder")
    given, base = base, base_for(checkpoint=checkpoint, base=base, flavor=flavor, out=out)
    if base != given and not _has_lora(checkpoint):
        publish(base, out)
        return "model"
    with ExitStack() as opened:
        model = opened.enter_context(open_model_folder(base))
        check_base(model)
        part = out.with_name(f"{out.name}.part")
        if is_hugging_face(checkpoint):
            logger.info("%s: Hugging Face's format and names", checkpoint)
            step = opened.enter_context(open_model_folder(checkpoint, config_from=base))
            kind, weights = "model", HuggingFaceWeights(step, model)
            _write_model(weights, model, part)
        else:
            check_is_dcp(checkpoint)
            source = opened.enter_context(DcpFolder(checkpoint))
            logger.info("%s: DCP, with %s", checkpoint, layout(source.tensors))
            kind = _write_dcp(source, model, alpha, part)
    publish(part, out)
    return kind


def _has_lora(checkpoint: Path) -> bool:
    if is_hugging_face(checkpoint):
        return False
    with DcpFolder(checkpoint) as source:
        return bool(lora_names(source))


def _write_dcp(source: DcpFolder, model: ModelFolder, alpha: float | None, part: Path) -> str:
    # Also where only LoRA is taken: what the base has not was trained, and would be lost.
    weights = DcpWeights(source, model)
    lora = lora_names(source)
    if lora:
        _write_adapter(source, lora, model, alpha, part)
        return "adapter"
    _write_model(weights, model, part)
    return "model"


def _write_adapter(
    source: DcpFolder, names: list[str], base: ModelFolder, alpha: float | None, out: Path
) -> None:
    """adapter_config.json and weights in fp32: `finetune-convert merge` takes it from there."""
    if alpha is None:
        raise Failure(
            f"--alpha missing: {source.path} holds LoRA matrices, and a checkpoint does not say their alpha",
            Reason.SETTING_INVALID,
            "Give the LoRAConverter's alpha",
        )
    layers = int(base.config["num_hidden_layers"])
    found = {}
    for name in names:
        peft = peft_name(plain_name(name), layers)
        if peft is None:
            raise Failure(
                f"{source.path}: tensor {name!r} is a LoRA matrix of no linear layer of DeepSeek-V3",
                Reason.CHECKPOINT_INVALID,
                "Use this project's adapter/ folder instead",
            )
        found[peft] = source.tensors[name]
    ranks = {tensor.shape[0] for name, tensor in found.items() if ".lora_A." in name}
    if len(ranks) != 1:
        raise Failure(
            f"{source.path}: LoRA ranks {sorted(ranks)}", Reason.CHECKPOINT_INVALID, "Train with one rank"
        )
    specs = [TensorSpec(name=name, dtype="F32", shape=tensor.shape) for name, tensor in found.items()]
    out.mkdir(parents=True, exist_ok=True)
    write_tensors(out / WEIGHTS, specs, lambda name: rows(source, found[name]))
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


def _write_model(weights: Weights, base: ModelFolder, out: Path) -> None:
    """The base's files, names and order; values of the checkpoint in the base's dtypes, FP8 as bfloat16."""
    out.mkdir(parents=True, exist_ok=True)
    weight_map: dict[str, str] = {}
    for name, file in base.files.items():
        specs = []
        for entry in file.header.tensors.values():
            if entry.name.removesuffix(SCALE) in base.tensors and entry.name.endswith(SCALE):
                continue
            dtype = "BF16" if entry.dtype == FLOAT8 else entry.dtype
            specs.append(TensorSpec(name=entry.name, dtype=dtype, shape=entry.shape))
        write_tensors(out / name, specs, lambda name: _bands(weights, base, name))
        weight_map |= dict.fromkeys((spec.name for spec in specs), name)
    write_json(out / INDEX, {"metadata": {}, "weight_map": weight_map})
    write_json(out / "config.json", merged_config(base.config, Dtype.BFLOAT16, block_format(base.config)))
    for name in carried_files(base.path):
        copy_file(base.path / name, out / name)


def _bands(weights: Weights, base: ModelFolder, name: str) -> Iterator[torch.Tensor]:
    """fp32 bands of a tensor; of the MTP layer, which torchtitan may not have trained, the base's."""
    if name in weights:
        return weights.bands(name)
    layers = int(base.config["num_hidden_layers"])
    if not any(name.startswith(f"model.layers.{layers + extra}.") for extra in range(4)):
        raise Failure(
            f"{weights.path}: nothing in it is the base's {name!r}", Reason.CHECKPOINT_INVALID, _REMEDY
        )
    return iter(dequantized(base, name))
