"""JSON as frozen dataclasses: every key known, none missing, every value of its field's type."""

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin

Invalid = Callable[[str], Exception]


def _read(expected: Any, value: Any, where: str, invalid: Invalid) -> Any:
    """`value` as the type `expected`; `where` is its dotted path in the file."""
    if is_dataclass(expected):
        return read_object(typing.cast(type, expected), value, invalid, where)
    origin = get_origin(expected)
    if origin is Literal:
        if value in get_args(expected):
            return value
        raise invalid(f"{where}: {value!r} is not one of {', '.join(get_args(expected))}")
    if origin in (types.UnionType, typing.Union):  # X | None; with a Literal it is the other
        (inner,) = (member for member in get_args(expected) if member is not types.NoneType)
        return None if value is None else _read(inner, value, where, invalid)
    if origin is tuple and isinstance(value, list):
        return tuple(
            _read(get_args(expected)[0], item, f"{where}[{i}]", invalid) for i, item in enumerate(value)
        )
    if origin is Mapping and isinstance(value, dict):
        return types.MappingProxyType(value)
    return _read_scalar(expected, value, where, invalid)


def _read_scalar(expected: Any, value: Any, where: str, invalid: Invalid) -> Any:
    if expected is float and type(value) is int:
        return float(value)
    if isinstance(expected, type) and type(value) is expected:  # bool is an int to isinstance
        return value
    name = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}.get(
        expected, "a list"
    )
    raise invalid(f"{where}: {value!r} is not {'an object' if get_origin(expected) is Mapping else name}")


def read_object(expected: type, value: Any, invalid: Invalid, where: str = "") -> Any:
    """`value`, an object of JSON, as the dataclass `expected`, keys in camelCase; `where` is its dotted path.

    Raises what `invalid` makes of a sentence that names the field.
    """
    if not isinstance(value, dict):
        raise invalid(f"{where}: {value!r} is not an object")
    hints = typing.get_type_hints(expected)
    names = {_camel_case(field.name): field.name for field in fields(expected)}
    optional = {
        _camel_case(field.name)
        for field in fields(expected)
        if field.default is not MISSING or field.default_factory is not MISSING
    }
    prefix = f"{where}." if where else ""
    if unknown := sorted(value.keys() - names.keys()):
        raise invalid(f"{prefix}{unknown[0]}: unknown field")
    if missing := [key for key in names if key not in value and key not in optional]:
        raise invalid(f"{prefix}{missing[0]}: missing")
    given = {
        name: _read(hints[name], value[key], prefix + key, invalid)
        for key, name in names.items()
        if key in value
    }
    return expected(**given)


def _camel_case(name: str) -> str:
    head, *tail = name.rstrip("_").split("_")  # `from_` is from
    return head + "".join(word.capitalize() for word in tail)
