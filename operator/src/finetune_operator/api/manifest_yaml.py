"""YAML as kubectl reads it, with the line of every field.

PyYAML follows YAML 1.1 further than kubectl's reader does: to it 1e-4 is a string, 1:30 is ninety, 2026-01-01
is a date, and of a key that is there twice the last one wins in silence. In one thing it follows less far: to
kubectl y and n are true and false, even as a name.
https://github.com/kubernetes-sigs/yaml/blob/master/goyaml.v2/resolve.go
"""

import re
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import yaml

_INT_TAG, _FLOAT_TAG, _BOOL_TAG = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool"))
_REPLACED = (_INT_TAG, _FLOAT_TAG, "tag:yaml.org,2002:timestamp")
# A hundred digits: Python refuses to convert thousands of them.
_INT = re.compile(
    r"^[-+]?(?:0[bB]_*[01][01_]*|0[oO]?_*[0-7][0-7_]*|0[xX]_*[0-9a-fA-F][0-9a-fA-F_]*|0|[1-9][0-9_]{0,99})$"
)
_FLOAT = re.compile(
    r"^[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?$"
    r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)
_LETTER = re.compile(r"^[yYnN]$")


class ManifestLoader(yaml.SafeLoader):
    """SafeLoader with kubectl's numbers and booleans, no dates, and no key that is there twice."""

    bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that is there twice; one that `<<` brings along is not."""
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is there twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


ManifestLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
ManifestLoader.add_implicit_resolver(_INT_TAG, _INT, list("-+0123456789"))
ManifestLoader.add_implicit_resolver(_FLOAT_TAG, _FLOAT, list("-+.0123456789"))
ManifestLoader.add_implicit_resolver(_BOOL_TAG, _LETTER, list("yYnN"))
ManifestLoader.add_constructor(_INT_TAG, lambda _, node: _integer(node.value))


def _integer(text: str) -> int:
    """Return a number that begins as Go's literals do; a leading 0 alone is octal."""
    digits = text.replace("_", "").lower()
    is_octal = digits.lstrip("+-").isdigit() and digits.lstrip("+-").startswith("0")
    return int(digits, 8 if is_octal else 0)


def documents(text: str) -> Iterator[tuple[yaml.Node, Any]]:
    """Yield every document that is not empty: as nodes, which know their lines, and as data.

    Raises yaml.YAMLError where the text is no YAML.
    """
    for node in yaml.compose_all(text, Loader=ManifestLoader):
        if node is not None and node.tag != "tag:yaml.org,2002:null":
            yield node, ManifestLoader("").construct_document(node)


def line_of(node: yaml.Node, path: Sequence[str | int]) -> int:
    """Return the line of a field, or of the innermost object that is there; the first line is 1."""
    line = node.start_mark.line
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1
