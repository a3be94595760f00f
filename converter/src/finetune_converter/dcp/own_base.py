"""The base that a torchtitan checkpoint holds itself: its weights, frozen or trained, with a model's assets.

torchtitan's convert_to_hf.py needs no weights but the checkpoint's, only config.json and tokenizer
(--hf_assets_path), and a flavour (--model_flavor). Neither is needed where the base's folder is given whole.
"""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from finetune_converter.arithmetic.block_format import BlockFormat
from finetune_converter.dcp.folder import DcpFolder
from finetune_converter.dcp.stored import check_is_dcp, is_hugging_face
from finetune_converter.dcp.weights import DcpWeights, HuggingFaceWeights, Weights
from finetune_converter.dcp.writing import write_tensors
from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import copy_file, publish, write_json
from finetune_converter.files.json_object import read_json_object
from finetune_converter.merge.architecture import check_config, promised_tensors
from finetune_converter.model_files.companions import carried_files
from finetune_converter.model_files.export_dtype import Dtype, merged_config
from finetune_converter.model_files.flavors import flavor_config, is_of_flavor, known_flavor
from finetune_converter.model_files.header import TensorEntry
from finetune_converter.model_files.header_bytes import TensorSpec
from finetune_converter.model_files.model_folder import (
    INDEX,
    SINGLE,
    Located,
    ModelFolder,
    open_model_folder,
)

logger = logging.getLogger(__name__)
_FILE_BYTES = 4 * 2**30
_ROUTER_BIAS = ".e_score_correction_bias"
_REMEDY = "Give the folder of the original model's config.json and tokenizer"


def base_for(*, checkpoint: Path, base: Path, flavor: str | None, out: Path) -> Path:
    """`base`, or OUT.base with the checkpoint's own weights where it has none, or is no model of the flavour.

    Raises Failure.
    """
    flavor = flavor and known_flavor(flavor)
    config = read_json_object(base / "config.json", Reason.BASE_INVALID, _REMEDY)
    has_weights = any((base / name).is_file() for name in (INDEX, SINGLE)) or any(base.glob("*.safetensors"))
    if has_weights and (flavor is None or is_of_flavor(config, flavor)):
        return base
    own = out.with_name(f"{out.name}.base")
    if not own.exists():
        why = f"is no {flavor}" if has_weights else "holds no weights"
        logger.info("%s %s: %s takes the checkpoint's own", base, why, own)
        of_flavor = flavor_config(config, flavor) if flavor else {**config, "num_nextn_predict_layers": 0}
        part = own.with_name(f"{own.name}.part")
        _write(checkpoint, _planned(base, of_flavor), part)
        publish(part, own)
    return own


def _planned(assets: Path, config: Mapping[str, Any]) -> ModelFolder:
    """The model that config.json promises, in bfloat16, with a file for each tensor; nothing is there yet."""
    content = merged_config(dict(config), Dtype.BFLOAT16, BlockFormat())
    check_config(assets, content)
    files: list[list[TensorSpec]] = [[]]
    for name, shape in promised_tensors(content):
        spec = TensorSpec(name=name, dtype="F32" if name.endswith(_ROUTER_BIAS) else "BF16", shape=shape)
        if sum(other.nbytes for other in files[-1]) + spec.nbytes > _FILE_BYTES and files[-1]:
            files.append([])
        files[-1].append(spec)
    located: dict[str, Located] = {}
    for number, specs in enumerate(files, start=1):
        file = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        located |= {
            spec.name: Located(
                file=file,
                entry=TensorEntry(
                    name=spec.name, dtype=spec.dtype, shape=spec.shape, begin=0, nbytes=spec.nbytes
                ),
            )
            for spec in specs
        }
    return ModelFolder(path=assets, files={}, tensors=located, index_metadata={}, config=content)


def _write(checkpoint: Path, model: ModelFolder, out: Path) -> None:
    with ExitStack() as opened:
        weights = _weights(checkpoint, model, opened)
        missing = [name for name in model.tensors if name not in weights]
        if missing:
            raise Failure(
                f"{checkpoint}: nothing in it is {missing[0]!r}, which config.json promises",
                Reason.CHECKPOINT_INVALID,
                "Give the base's folder with its weights, or --flavor",
            )
        out.mkdir(parents=True, exist_ok=True)
        weight_map = {name: located.file for name, located in model.tensors.items()}
        for file in sorted(set(weight_map.values())):
            specs = [
                TensorSpec(name=name, dtype=located.entry.dtype, shape=located.entry.shape)
                for name, located in model.tensors.items()
                if located.file == file
            ]
            write_tensors(out / file, specs, weights.bands)
    write_json(out / INDEX, {"metadata": {}, "weight_map": weight_map})
    write_json(out / "config.json", model.config)
    for name in carried_files(model.path):
        copy_file(model.path / name, out / name)


def _weights(checkpoint: Path, model: ModelFolder, opened: ExitStack) -> Weights:
    if is_hugging_face(checkpoint):
        return HuggingFaceWeights(
            opened.enter_context(open_model_folder(checkpoint, config_from=model.path)), model
        )
    check_is_dcp(checkpoint)
    return DcpWeights(opened.enter_context(DcpFolder(checkpoint)), model)
