"""Files of manifests: read, checked as the API server would, with the line of every problem."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from finetune_operator.api import API_VERSION
from finetune_operator.api.base import ApiModel
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob

KINDS: dict[str, type[ApiModel]] = {"FineTuneJob": FineTuneJob, "ModelDeployment": ModelDeployment}


class InvalidManifestsError(Exception):
    """Everything that is wrong with the files, a line each."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = tuple(errors)


def load_manifests(files: Sequence[Path], namespace: str = "default") -> list[dict[str, Any]]:
    """Return the objects in the files, defaults filled in, in their order.

    Objects without a namespace get `namespace`. Raises InvalidManifestsError with all
    problems of all files.
    """
    manifests: list[dict[str, Any]] = []
    errors: list[str] = []
    for file in files:
        try:
            for node, document in _documents(file):
                problems = list(_problems(file, node, document))
                errors += problems
                if not problems:
                    manifests.append(_with_defaults(document, namespace))
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            errors.append(_unreadable(file, error))
    errors += _repeated(manifests)
    if not manifests and not errors:
        errors.append(
            f"{', '.join(map(str, files))}: holds no object; write a FineTuneJob or a ModelDeployment"
        )
    if errors:
        raise InvalidManifestsError(errors)
    return manifests


def _documents(file: Path) -> Iterator[tuple[yaml.Node, Any]]:
    """Yield every document that is not empty: as nodes, which know their lines, and as data."""
    text = file.read_text(encoding="utf-8")
    for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
        if node is not None and node.tag != "tag:yaml.org,2002:null":
            yield node, yaml.SafeLoader("").construct_document(node)


def _problems(file: Path, node: yaml.Node, document: Any) -> Iterator[str]:
    start = node.start_mark.line + 1
    if not isinstance(document, dict):
        yield f"{file}:{start}: is no object; write apiVersion, kind, metadata and spec"
        return
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind not in KINDS:
        yield f"{file}:{_line(node, ('kind',))}: kind: is {kind!r}; use one of {', '.join(KINDS)}"
    elif version != API_VERSION:
        yield f"{file}:{_line(node, ('apiVersion',))}: apiVersion: is {version!r}; use {API_VERSION}"
    else:
        for error in field_errors(KINDS[kind], document):
            yield f"{file}:{_line(node, error.path)}: {error}"


def _with_defaults(document: dict[str, Any], namespace: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, **document["metadata"]}
    return KINDS[document["kind"]].model_validate({**document, "metadata": metadata}).to_dict()


def _repeated(manifests: Sequence[dict[str, Any]]) -> Iterator[str]:
    seen = set()
    for manifest in manifests:
        identity = (manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        if identity in seen:
            yield f"metadata.name: {identity[0]} {identity[1]}/{identity[2]} is there twice; rename one"
        seen.add(identity)


def _line(node: yaml.Node, path: Sequence[str | int]) -> int:
    """Return the line of a field, or of the innermost object that is there."""
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


def _unreadable(file: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{file}: cannot be read ({error.strerror}); check the path"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{file}:{error.problem_mark.line + 1}: is no YAML ({error.problem}); correct this line"
    return f"{file}: is no YAML in UTF-8; correct the file"
