"""How large a job's base is: by its flavour, by what prepare read of it, or by its repository's name."""

import json
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from finetune_operator.api.job import FineTuneJobSpec
from finetune_operator.core.capacity.architecture import FLAVORS, Architecture, debug_form
from finetune_operator.core.capacity.published import published_architecture


def base_architecture(spec: FineTuneJobSpec, told: Architecture | None = None) -> Architecture | None:
    """Return the base of a job; None where nobody knows it yet.

    told: what prepare read in the base's config.json, which goes before what a name promises.
    """
    if spec.flavor != "auto":
        return FLAVORS[spec.flavor]
    published = published_architecture(spec.model.uri)
    return told or (debug_form(published) if published and spec.model.layers == "debug" else published)


def read_architecture(result: str) -> Architecture | None:
    """Return what prepare tells in its termination message (contract/README.md); None if it tells nothing."""
    try:
        line = json.loads(result)
    except ValueError:
        return None
    numbers = line.get("architecture") if isinstance(line, dict) else None
    if not isinstance(numbers, dict):
        return None
    names, hints = {field.name for field in fields(Architecture)}, get_type_hints(Architecture)
    known = {name: value for name, value in numbers.items() if name in names and _is(value, hints[name])}
    # Of another release of the trainer's image something may be missing: then nothing is known.
    return Architecture(**known) if known.keys() == names else None


def _is(value: Any, hint: Any) -> bool:
    return type(value) is hint if hint in (int, bool) else value in get_args(hint)
