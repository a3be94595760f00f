"""A base's config.json: what of it a model computes with, and whether a model is the base's.

Every field has one of four places: those of base/shape.py and base/rope.py are computed with as they are,
those in `FIXED` and in a family's `fixed` must have the one value that is computed here, and those in
`CHANGES_NOTHING` have no part in a forward pass. A field of another name is refused if it sounds like
computation, and named in the log if not.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune_trainer.base.config_fields import CHANGES_NOTHING, COMPUTES, FIXED
from finetune_trainer.base.families import FAMILIES, REFUSED, Family
from finetune_trainer.base.foreign_files import foreign_content
from finetune_trainer.base.quantization import check_quantization
from finetune_trainer.base.rope import ROPE_FIELDS, read_rope
from finetune_trainer.base.shape import Shape, difference, read_shape
from finetune_trainer.contract.failure import DataError, Reason

logger = logging.getLogger(__name__)

CONFIG = "config.json"


def read_hf_config(folder: Path) -> dict[str, Any]:
    """`folder`/config.json. Raises DataError if it is no JSON object, saying what it is instead."""
    file = folder / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        found = foreign_content(file)
        problem, remedy = found or (f"cannot be read ({error})", "Fetch the base model again")
        raise DataError(f"{file}: {problem}", Reason.BASE_INCOMPLETE, remedy=remedy) from error
    if not isinstance(config, dict):
        raise DataError(
            f"{file} is no JSON object", Reason.BASE_INCOMPLETE, remedy="Fetch the base model again"
        )
    return config


def shape_of_base(folder: Path) -> Shape:
    """The shape of the base in `folder`. Raises DataError for a config.json that is not computed with."""
    config = read_hf_config(folder)
    check_supported(config, folder / CONFIG)
    return read_shape(config, folder / CONFIG)


def check_hf_config(shape: Shape, folder: Path) -> None:
    """Raise DataError naming the first field of `folder`/config.json that is not as in `shape`.

    The rope is left aside: a model takes its base's (model/rope.py).
    """
    config, file = read_hf_config(folder), folder / CONFIG
    check_supported(config, file)
    if problem := difference(shape, config, file):
        raise _refused(file, problem, "Use the flavor that belongs to this base model, or auto")


def check_supported(config: Mapping[str, Any], file: Path) -> None:
    """Raise DataError naming the first field of a config.json that no model here computes with."""
    family = _family(config, file)
    _check_scoring(family, config, file)
    check_quantization(config, file)
    read_rope(config, file)
    for field, (value, remedy) in {**FIXED, **family.fixed}.items():
        found = config.get(field)
        if found is not None and not _is(found, value):
            raise _refused(file, f"{field} is {found!r}, only {value!r} is computed here", remedy)
    _check_unknown(family, config, file)
    read_shape(config, file)


def _family(config: Mapping[str, Any], file: Path) -> Family:
    model_type, remedy = config.get("model_type"), f"Use a base of type {', '.join(FAMILIES)}"
    if not isinstance(model_type, str):
        raise _refused(file, f"model_type {_unknown_type(config)}", remedy)
    if model_type in REFUSED:
        model = REFUSED[model_type]
        raise _refused(
            file, f"model_type is {model_type!r}, which is not trained here. {model}", model.remedy
        )
    if model_type not in FAMILIES:
        raise _refused(file, f"model_type {_unknown_type(config)}", remedy)
    family, architectures = FAMILIES[model_type], config.get("architectures")
    if architectures not in (None, [], [family.architecture]):
        raise _refused(
            file,
            f"architectures is {architectures!r}, the language model of {model_type} is "
            f"{family.architecture}",
            remedy,
        )
    return family


def _unknown_type(config: Mapping[str, Any]) -> str:
    model_type = config.get("model_type")
    if model_type is None:
        return "is missing"
    if not isinstance(model_type, str):
        return f"is {model_type!r}, which is no name"
    if config.get("kv_lora_rank") is None:
        return f"is {model_type!r}, another model than is trained here: its attention is not latent"
    return f"is {model_type!r}, another model than is trained here"


def _check_scoring(family: Family, config: Mapping[str, Any], file: Path) -> None:
    """transformers scores a DeepSeek-V3's experts by sigmoids, and leaves these fields out when it saves."""
    for field in ("scoring_func", "topk_method"):
        if family.says_its_router and config.get(field) is None:
            raise _refused(
                file,
                f"{field} is missing, without which vLLM serves another model",
                'Add "scoring_func": "sigmoid" and "topk_method": "noaux_tc", as in DeepSeek-V3\'s own',
            )


def _check_unknown(family: Family, config: Mapping[str, Any], file: Path) -> None:
    known = CHANGES_NOTHING | FIXED.keys() | family.fixed.keys() | ROPE_FIELDS | _READ
    unknown = [name for name, value in config.items() if name not in known and value not in (None, False)]
    for name in unknown:
        if COMPUTES.search(name.lower()):
            raise _refused(
                file,
                f"{name} is {config[name]!r}, which no {family.model_type} computes with here",
                "Use a base without it; if it has no part in the model's computation, remove it there",
            )
    if unknown:
        logger.warning("%s: nothing here reads %s", file, ", ".join(unknown))


_READ = frozenset(
    {
        *(field.name for field in dataclasses.fields(Shape)),
        *("model_type", "num_key_value_heads", "head_dim", "qk_head_dim", "mlp_layer_types"),
        *("quantization_config", "compression_config"),
    }
)


def _is(found: Any, value: Any) -> bool:
    """1 is true to Python, and not to a config.json."""
    return bool(found == value) and isinstance(found, bool) == isinstance(value, bool)


def _refused(file: Path, problem: str, remedy: str) -> DataError:
    return DataError(f"{file}: {problem}", Reason.BASE_INVALID, remedy=remedy)
