"""How large a job's base is: by its flavour, by what prepare read of it, or by its repository's name."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_args, get_type_hints

from pydantic.alias_generators import to_camel

from finetune_operator.api.job import FineTuneJobSpec
from finetune_operator.core.capacity.architecture import FLAVORS, Architecture, debug_form
from finetune_operator.core.capacity.published import published_architecture

_MOST = 2**31 - 1  # as in the status


def base_architecture(spec: FineTuneJobSpec, told: Architecture | None = None) -> Architecture | None:
    """Return the base of a job; None where nobody knows it yet.

    told: what prepare read in the base's config.json, which goes before what a name promises: that of a
    flavour says nothing of the files' dtype, nor of a multi-token layer beside the layers that are trained.
    """
    if told:
        return told
    if spec.flavor != "auto":
        return FLAVORS[spec.flavor]
    published = published_architecture(spec.model.uri)
    return debug_form(published) if published and spec.model.layers == "debug" else published


def read_architecture(result: str) -> Architecture | None:
    """Return what prepare tells in its termination message (contract/README.md); None if it tells nothing."""
    try:
        line = json.loads(result)
    except ValueError:
        return None
    return _architecture(line.get("architecture") if isinstance(line, dict) else None)


def told_architecture(status: Mapping[str, Any]) -> Architecture | None:
    """Return what a job's status keeps of it; None where it keeps nothing."""
    base = status.get("base") or {}
    return _architecture({field.name: base.get(to_camel(field.name)) for field in fields(Architecture)})


def architecture_status(model: Architecture) -> dict[str, Any]:
    """Return it as the status has it."""
    return {to_camel(name): value for name, value in asdict(model).items()}


def _architecture(numbers: Any) -> Architecture | None:
    if not isinstance(numbers, dict):
        return None
    names, hints = {field.name for field in fields(Architecture)}, get_type_hints(Architecture)
    known = {name: value for name, value in numbers.items() if name in names and _is(value, hints[name])}
    # Of another release of the trainer's image something may be missing: then nothing is known.
    return Architecture(**known) if known.keys() == names else None


def _is(value: Any, hint: Any) -> bool:
    if hint is int:
        return type(value) is int and 0 <= value <= _MOST
    return type(value) is hint if hint is bool else value in get_args(hint)
