"""Whether a base is understood before a byte is written: its architecture, names and quantisation."""

import re
from collections.abc import Iterator

from finetune_converter.failure import Failure, Reason
from finetune_converter.merge.architecture import check_config, promised_tensors
from finetune_converter.model_files.dtypes import FLOAT8
from finetune_converter.model_files.export_dtype import is_float8_weight
from finetune_converter.model_files.model_folder import Located, ModelFolder
from finetune_converter.model_files.quantization import FIELD, SCALE, block_format, is_excepted, is_named

_FLOAT8S = (FLOAT8, "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
_SCALES = ("F32", "BF16", "F16", "F8_E8M0")
_STACKED = re.compile(r".+\.experts\.(gate_up_proj|gate_proj|up_proj|down_proj)(\.weight)?")
# Beside their weights, what other ways to quantise leave: the weights alone are not the model's.
_FOREIGN = re.compile(r".+\.(qweight|qzeros|scales|g_idx|weight_packed|weight_scale(_2)?|input_scale|absmax)")
# A model that was saved with PEFT's layers in it: which of its weights are the base's is then not known.
_WRAPPED = re.compile(r"base_model\..+|.+\.(base_layer|modules_to_save|original_module|lora_[A-Za-z_]+)\..+")
_FETCH = "Fetch the base again, config.json and weights together"


def check_base(base: ModelFolder) -> None:
    """Raises Failure(BaseInvalid) naming the first field or tensor that a merge would get wrong."""
    check_config(base.path, base.config)
    block = block_format(base.config)
    for fault, remedy in _faults(base):
        raise Failure(f"{base.path}: {fault}", Reason.BASE_INVALID, remedy)
    for name, located in base.tensors.items():
        scales = base.tensors.get(name + SCALE)
        if located.entry.dtype == FLOAT8 and scales is not None:
            _check_scales(name, located, scales, block.scale_shape(located.entry.shape))


def _faults(base: ModelFolder) -> Iterator[tuple[str, str]]:
    """What is wrong with names and dtypes, and what to do."""
    yield from _faults_of_names(base)
    quantised = base.config.get(FIELD) is not None
    float8 = [name for name, located in base.tensors.items() if located.entry.dtype in _FLOAT8S]
    for name in float8:
        dtype = base.tensors[name].entry.dtype
        if dtype != FLOAT8 or len(base.tensors[name].entry.shape) != 2:
            shape = list(base.tensors[name].entry.shape)
            yield f"tensor {name!r} is {dtype} {shape}, and only matrices in F8_E4M3 are read", _FETCH
        if not quantised:
            yield f"tensor {name!r} is FP8, and config.json has no {FIELD}", _FETCH
        if name + SCALE not in base.tensors:
            yield f"tensor {name!r} is FP8 and has no {name + SCALE!r}", f"{_FETCH}: its scales are missing"
        if is_named(base.config, name.removesuffix(".weight")):
            yield f"tensor {name!r} is FP8, and {FIELD} names it among what is not", _FETCH
    if quantised and not float8:
        yield (
            f"config.json has a {FIELD}, and no tensor is FP8: loaders look for scales that are not there",
            f"Remove {FIELD} from config.json if the weights were made bfloat16; otherwise fetch them again",
        )
    for name, located in base.tensors.items():
        weight = name.removesuffix(SCALE)
        if weight != name and (weight not in base.tensors or base.tensors[weight].entry.dtype != FLOAT8):
            yield f"tensor {name!r} has no FP8 weight {weight!r}", _FETCH
        is_plain = located.entry.dtype != FLOAT8 and is_float8_weight(located.entry)
        if quantised and is_plain and not is_excepted(base.config, name.removesuffix(".weight")):
            yield (
                f"tensor {name!r} is {located.entry.dtype}, and {FIELD} does not except it: loaders read FP8",
                "Name its module in modules_to_not_convert and ignored_layers, or fetch the base again",
            )


def _faults_of_names(base: ModelFolder) -> Iterator[tuple[str, str]]:
    for name in base.tensors:
        if _STACKED.fullmatch(name):
            yield (
                f"tensor {name!r} holds all experts of a layer, and servers read one tensor an expert",
                "Save it with save_pretrained of transformers 5, which writes one tensor an expert",
            )
        if _WRAPPED.fullmatch(name):
            yield (
                f"tensor {name!r} is of a model that was saved with PEFT's layers in it",
                "Save the base without them: model.unload() before the training or, to go on from what was "
                "trained, model.merge_and_unload(), and then save_pretrained",
            )
        if _FOREIGN.fullmatch(name):
            yield (
                f"tensor {name!r} is of another quantisation than DeepSeek's FP8",
                "Use the base in bfloat16, or in FP8 blocks of 128 x 128",
            )
    for name, shape in promised_tensors(base.config):
        found = base.tensors.get(name)
        if found is None:
            yield f"there is no tensor {name!r}, which config.json promises", _FETCH
        elif found.entry.shape != shape:
            fault = f"tensor {name!r} is {list(found.entry.shape)}, and config.json says {list(shape)}"
            yield fault, _FETCH


def _check_scales(name: str, weight: Located, scales: Located, shape: tuple[int, int]) -> None:
    entry = scales.entry
    if entry.shape == shape and entry.dtype in _SCALES:
        return
    raise Failure(
        f"{scales.file}: tensor {entry.name!r} is {entry.dtype} {list(entry.shape)}, not the {list(shape)} "
        f"that the blocks of {name!r} {list(weight.entry.shape)} take, in {', '.join(_SCALES)}",
        Reason.BASE_INVALID,
        _FETCH,
    )
