"""What is wrong with the names in an object, by the rules of the oldest Kubernetes that is supported, 1.31.

https://kubernetes.io/docs/concepts/overview/working-with-objects/names/, and labels/ beside it
"""

import re
from collections.abc import Iterator
from typing import Any

from finetune_operator.core.objects import Manifest

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_PORT = r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*"
_ENV = r"[-._a-zA-Z][-._a-zA-Z0-9]*"

# Pattern and most characters. A Job's pods are called after it, with a hyphen and an index of four digits.
_OF_OBJECTS = {"Service": (_DNS_1035, 63), "Job": (_LABEL, 63 - len("-1023"))}
_OF_OTHERS = (_SUBDOMAIN, 253)
_WITHIN = {
    "containers": (_LABEL, 63),
    "initContainers": (_LABEL, 63),
    "volumes": (_LABEL, 63),
    "volumeMounts": (_LABEL, 63),
    "ports": (_PORT, 15),
    "env": (_ENV, 253),
}
_MAPS_OF_LABELS = {"labels", "matchLabels", "nodeSelector"}


def wrong_names(manifest: Manifest) -> list[str]:
    """Every name that some supported API server refuses, or that a controller cannot make a name from."""
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    own = _wrong(f"{kind} name", name, *_OF_OBJECTS.get(kind, _OF_OTHERS))
    return [*own, *_within(manifest, kind)]


def _within(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _within(item, path)
        return
    if not isinstance(value, dict):
        return
    for field, inner in value.items():
        here = f"{path}.{field}"
        if field in _MAPS_OF_LABELS or (field == "selector" and path == "Service.spec"):
            for key, text in inner.items():
                yield from _key(here, key)
                yield from _wrong(f"{here} {key}", text, _VALUE, 63)
        elif field == "annotations":
            for key in inner:
                yield from _key(here, key)
        elif field == "subdomain":
            yield from _wrong(here, inner, _DNS_1035, 63)
        elif field in _WITHIN and isinstance(inner, list):
            for item in inner:
                if isinstance(item, dict) and isinstance(item.get("name"), str):
                    yield from _wrong(here, item["name"], *_WITHIN[field])
        yield from _within(inner, here)


def _key(path: str, key: str) -> Iterator[str]:
    prefix, slash, name = key.rpartition("/")
    yield from _wrong(path, name, _VALUE, 63, least=1)
    if slash:
        yield from _wrong(path, prefix, _SUBDOMAIN, 253)


def _wrong(path: str, name: str, pattern: str, most: int, least: int = 0) -> Iterator[str]:
    if not least <= len(name) <= most or not re.fullmatch(pattern, name):
        yield f"{path}: {name!r}"
