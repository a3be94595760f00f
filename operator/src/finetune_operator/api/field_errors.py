"""What is wrong with an object, each problem in one line with the field's path as it stands in YAML."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import EXPLANATIONS
from finetune_operator.api.formerly import what_to_write_now

_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a string, in quotes",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "too_short": "of at least {min_length} items",
    "too_long": "of at most {max_length} items",
    "string_too_short": "of at least {min_length} characters",
    "string_too_long": "of at most {max_length} characters",
}
_INT_OR_STRING = "make it a whole number, or put it in quotes"
Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """One problem: `path` is where it is, such as ("spec", "training", "steps")."""

    path: Path
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.problem}; {self.remedy}"


def field_errors(model: type[ApiModel], document: dict[str, Any]) -> list[FieldError]:
    """Return everything that is wrong with a document; nothing when it is valid."""
    try:
        model.model_validate(document)
    except ValidationError as error:
        found = [translated for details in error.errors() for translated in _translate(model, details)]
        return _one_a_problem(found)
    return []


def _one_a_problem(found: list[FieldError]) -> list[FieldError]:
    """Keep of the members of a union that failed the one that says most."""
    kept: dict[tuple[Path, str], FieldError] = {}
    for error in found:
        place = (error.path, error.problem)
        if place not in kept or kept[place].remedy == _INT_OR_STRING:
            kept[place] = error
    return list(kept.values())


def dotted(path: Path) -> str:
    """Return a path as people write it: spec.dataset.uri, spec.workers.podOverrides.env[0].name."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _translate(model: type[ApiModel], details: ErrorDetails) -> Iterator[FieldError]:
    path, context, kind = _without_union_tags(details["loc"]), details.get("ctx", {}), details["type"]
    of_union = len(path) < len(details["loc"])
    name = path[-1] if path else ""
    if "key" in context:
        yield FieldError(path=(*path, context["key"]), problem=details["msg"], remedy=context["remedy"])
    elif kind == "rules":
        for rule in context["broken"]:
            parts = rule.field.split(".") if rule.field else []
            yield FieldError(path=(*path, *parts), problem=rule.problem, remedy=rule.remedy)
    elif kind == "missing":
        yield FieldError(path=path, problem="is required", remedy="add it")
    elif kind == "extra_forbidden":
        now = what_to_write_now(name, details["input"])
        yield FieldError(path=path, problem="is no field here", remedy=now or _suggestion(model, path))
    elif kind == "literal_error":
        yield FieldError(
            path=path, problem=f"is {details['input']!r}", remedy=f"use one of {context['expected']}"
        )
    elif kind == "string_pattern_mismatch":
        meaning = EXPLANATIONS.get(context["pattern"], f"a string that matches {context['pattern']}")
        yield FieldError(path=path, problem=f"is {details['input']!r}", remedy=f"use {meaning}")
    elif of_union and kind in _TYPES:
        yield FieldError(path=path, problem=f"is {details['input']!r}", remedy=_INT_OR_STRING)
    elif kind in _TYPES:
        yield FieldError(path=path, problem=f"is {details['input']!r}", remedy=f"make it {_TYPES[kind]}")
    elif kind in _BOUNDS:
        bound = f"make it {_BOUNDS[kind].format(**context)}"
        now = what_to_write_now(name, details["input"])
        yield FieldError(path=path, problem=_shown(details["input"]), remedy=now or bound)
    else:
        yield FieldError(path=path, problem=details["msg"], remedy=f"correct {name}")


def _shown(value: Any) -> str:
    return (
        f"is {value!r}"
        if isinstance(value, int | float) or len(str(value)) < 40
        else "is of the wrong length"
    )


def _without_union_tags(loc: Sequence[str | int]) -> Path:
    """Drop the parts by which pydantic says which member of a union it tried ("int", "constrained-str")."""
    return tuple(p for p in loc if isinstance(p, int) or not (p == "int" or "constrained" in p or "[" in p))


def _suggestion(model: type[ApiModel], path: Path) -> str:
    """Return what to do about an unknown field: the nearest one there is."""
    owner = _model_at(model, path[:-1])
    names = [field.alias or name for name, field in owner.model_fields.items()] if owner else []
    return did_you_mean(str(path[-1]), names)


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """Return what to do about a name that is none of these."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"remove it; there are {', '.join(names)}" if names else "remove it"


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """Return the model of the object at a path."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        fields = current.model_fields.values() if current else ()
        field = next((f for f in fields if f.alias == part), None)
        current = _model_in(field.annotation) if field else None
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation holds: itself, optional, or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)
