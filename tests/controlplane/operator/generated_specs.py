"""Specs drawn from a CRD's own schema: a valid one, with some fields replaced by good values and bad ones."""

import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

# Strings for fields with a pattern: most fit some field, and none fits all.
WORDS = (
    "faq", "models", "a.b", "hf://acme/model", "s3://bucket/data", "models/tiny", "../up", "/etc/passwd", "",
    "o_proj", "wq_a", "nvidia.com/gpu", "10Gi", "-1", "1e3", "50%", "101%", "main", "Not A Name", "é",
    "x" * 70, "UPPER", "a_b", "HF_TOKEN", "1A", "--model=x", "model.layers.0",
    "10.0.0.1", "10.0.0.256", "fd00::1", "1::2::3",
)  # fmt: skip
_WRONG: tuple[Any, ...] = ("text", -1, 1.5, True, [], {}, [1], {"a": 1}, 10**12)
_PATH = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Field:
    path: _PATH
    schema: dict[str, Any]


def fields_of(schema: dict[str, Any], path: _PATH = ()) -> Iterator[Field]:
    """Every field below an object, at every depth; those within lists and maps as a whole."""
    for name, inner in schema.get("properties", {}).items():
        yield Field(path=(*path, name), schema=inner)
        yield from fields_of(inner, (*path, name))


def value_of(schema: dict[str, Any], draw: random.Random) -> Any:
    """A value of the schema's type, within its bounds; a string may not fit its pattern."""
    if "enum" in schema:
        return draw.choice(schema["enum"])
    if "default" in schema and draw.random() < 0.1:
        return schema["default"]
    if schema.get("x-kubernetes-int-or-string"):
        return draw.choice((1, 4, "10Gi", "250m", "50%", "2"))
    match schema.get("type"):
        case "integer" | "number":
            return _number(schema, draw)
        case "boolean":
            return draw.random() < 0.5
        case "string":
            return draw.choice(WORDS)
        case "array":
            return [value_of(schema["items"], draw) for _ in range(draw.randint(0, 2))]
        case _:
            return _object(schema, draw)


def _number(schema: dict[str, Any], draw: random.Random) -> int | float:
    low, high = schema.get("minimum", 0), schema.get("maximum", 100_000)
    if schema["type"] == "integer":
        return draw.choice(
            (int(low), min(int(high), int(low) + draw.randint(0, 16)), draw.randint(int(low), int(high)))
        )
    return draw.choice((low, high, low + (high - low) * draw.random()))


def _object(schema: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    if "additionalProperties" in schema:
        names = ("app", "team", "acme.com/tier") if draw.random() < 0.5 else ("cpu", "memory")
        return {name: value_of(schema["additionalProperties"], draw) for name in draw.sample(names, 2)}
    properties, required = schema.get("properties", {}), schema.get("required", ())
    wanted = [name for name in properties if name in required or draw.random() < 0.3]
    return {name: value_of(properties[name], draw) for name in wanted if not _is_kubernetes(properties[name])}


def _is_kubernetes(schema: dict[str, Any]) -> bool:
    """Whether it is an object of Kubernetes' own, such as a volume's source: an empty one lacks something."""
    return "x-kubernetes-preserve-unknown-fields" in schema


def changed(spec: dict[str, Any], fields: list[Field], draw: random.Random) -> dict[str, Any]:
    """The spec with one to four fields replaced; one of eight values is of the wrong type.

    Kubernetes' own objects (affinity, security contexts) are checked where a pod has them, not in the CRD.
    """
    new = deepcopy(spec)
    for field in draw.sample(fields, draw.randint(1, 4)):
        *parents, last = field.path
        inner: Any = new
        for name in parents:
            inner = inner.setdefault(name, {}) if isinstance(inner, dict) else {}
        if isinstance(inner, dict):
            wrong = draw.random() < 0.125 and "x-kubernetes-preserve-unknown-fields" not in field.schema
            inner[last] = deepcopy(draw.choice(_WRONG)) if wrong else value_of(field.schema, draw)
    if draw.random() < 0.02:
        new["unknownField"] = 1
    return new
