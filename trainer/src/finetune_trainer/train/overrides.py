"""Set any field of torchtitan's Trainer.Config by its dotted path, checked before the run."""

import dataclasses
import difflib
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from finetune_trainer.contract.failure import ConfigurationError, Reason

C = TypeVar("C")


def with_overrides(config: C, overrides: Mapping[str, Any]) -> C:
    """A copy of `config` with the fields at the paths of `overrides` set.

    Raises ConfigurationError for a path that does not exist (naming the nearest), a value of another type,
    or a value that torchtitan refuses.
    """
    for path, value in overrides.items():
        config = _set(config, path, path.split("."), value, root=config)
    return config


def field_paths(config: Any, prefix: str = "") -> Iterator[str]:
    """The dotted paths of all plain fields below `config`; the model is the flavour's to decide."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "model_spec" or field.name.startswith("_"):
            continue
        if dataclasses.is_dataclass(value):
            yield from field_paths(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def _set(config: Any, path: str, parts: list[str], value: Any, *, root: Any) -> Any:
    name, *rest = parts
    fields = (
        {field.name for field in dataclasses.fields(config)} if dataclasses.is_dataclass(config) else set()
    )
    if (
        name not in fields
        or name == "model_spec"
        or (not rest and dataclasses.is_dataclass(getattr(config, name)))
    ):
        raise _unknown(path, root)
    if rest:
        value = _set(getattr(config, name), path, rest, value, root=root)
    else:
        value = _checked(path, value, _field_type(config, name))
    try:
        return dataclasses.replace(config, **{name: value})
    except (ValueError, AssertionError, NotImplementedError) as error:
        raise _invalid(path, str(error)) from error


def _field_type(config: Any, name: str) -> Any:
    return get_type_hints(type(config), include_extras=False)[name]


def _checked(path: str, value: Any, expected: Any) -> Any:
    converted = _convert(value, expected)
    if converted is _MISMATCH:
        raise _invalid(path, f"{value!r} is not {_describe(expected)}")
    return converted


_MISMATCH = object()


def _convert(value: Any, expected: Any) -> Any:
    """`value` as `expected`, or _MISMATCH. A JSON integer is a fine float; nothing else is converted."""
    origin = get_origin(expected)
    if expected is Any:
        return value
    if origin is Annotated:
        return _convert(value, get_args(expected)[0])
    if origin in (Union, types.UnionType):
        options = (_convert(value, option) for option in get_args(expected))
        return next((option for option in options if option is not _MISMATCH), _MISMATCH)
    if origin is Literal:
        return value if value in get_args(expected) else _MISMATCH
    if origin in (list, tuple, dict):
        return _convert_container(value, origin, get_args(expected))
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if expected is int and isinstance(value, bool):
        return _MISMATCH
    return value if isinstance(value, expected) else _MISMATCH


def _convert_container(value: Any, origin: type, arguments: tuple[Any, ...]) -> Any:
    if not isinstance(value, dict if origin is dict else list):
        return _MISMATCH
    if origin is dict:
        return value
    items = [_convert(item, arguments[0]) for item in value] if arguments else list(value)
    return _MISMATCH if _MISMATCH in items else origin(items)


def _describe(expected: Any) -> str:
    if get_origin(expected) is Literal:
        return "one of " + ", ".join(map(repr, get_args(expected)))
    return getattr(expected, "__name__", str(expected)) if get_origin(expected) is None else str(expected)


def _unknown(path: str, root: Any) -> ConfigurationError:
    nearest = difflib.get_close_matches(path, list(field_paths(root)), n=1, cutoff=0.0)
    return ConfigurationError(
        f"training.overrides: {path} is no field of the trainer's configuration",
        Reason.OVERRIDE_INVALID,
        remedy=f"The nearest field is {nearest[0]}",
    )


def _invalid(path: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"training.overrides: {path}: {problem}",
        Reason.OVERRIDE_INVALID,
        remedy="Correct the value or remove the override",
    )
