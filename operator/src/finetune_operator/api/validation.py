"""Files of manifests: read, checked as the API server would, with the line of every problem."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from finetune_operator.api import API_VERSION
from finetune_operator.api.base import ApiModel
from finetune_operator.api.errors import FinetuneError
from finetune_operator.api.field_errors import FieldError, did_you_mean, field_errors
from finetune_operator.api.manifest_yaml import documents, line_of
from finetune_operator.api.metadata import OBJECT_META
from finetune_operator.api.resources import RESOURCES

MODELS: dict[str, type[ApiModel]] = {resource.kind: resource.model for resource in RESOURCES}


class InvalidManifestsError(FinetuneError):
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
    places: list[str] = []
    errors: list[str] = []
    for file in files:
        try:
            for node, written in documents(file.read_text(encoding="utf-8")):
                document = _without_status(written)
                problems = list(_problems(file, node, document))
                errors += problems
                if not problems:
                    manifests.append(_with_defaults(document, namespace))
                    places.append(f"{file}:{line_of(node, ('metadata', 'name'))}")
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, OSError) as error:
            errors.append(_unreadable(file, error))
    errors += _repeated(places, manifests)
    if not manifests and not errors:
        errors.append(
            f"{', '.join(map(str, files))}: holds no object; write a FineTuneJob or a ModelDeployment"
        )
    if errors:
        raise InvalidManifestsError(errors)
    return manifests


def check_document(document: Mapping[str, Any]) -> None:
    """Raise InvalidManifestsError with all that is wrong with an object that no file holds."""
    kind, version, written = document.get("kind"), document.get("apiVersion"), _without_status(dict(document))
    if not isinstance(kind, str) or kind not in MODELS:
        raise InvalidManifestsError([f"kind: is {kind!r}; use one of {', '.join(MODELS)}"])
    if version != API_VERSION:
        raise InvalidManifestsError([f"apiVersion: is {version!r}; use {API_VERSION}"])
    if errors := [*_metadata_errors(document.get("metadata")), *field_errors(MODELS[kind], written)]:
        raise InvalidManifestsError(list(map(str, errors)))


def _without_status(document: Any) -> Any:
    """Leave out what is the controller's, as the API server does of what people write."""
    if not isinstance(document, dict):
        return document
    return {key: value for key, value in document.items() if key != "status"}


def _problems(file: Path, node: yaml.Node, document: Any) -> Iterator[str]:
    start = node.start_mark.line + 1
    if not isinstance(document, dict):
        yield f"{file}:{start}: is no object; write apiVersion, kind, metadata and spec"
        return
    kind, version = document.get("kind"), document.get("apiVersion")
    if not isinstance(kind, str) or kind not in MODELS:
        yield f"{file}:{line_of(node, ('kind',))}: kind: is {kind!r}; use one of {', '.join(MODELS)}"
    elif version != API_VERSION:
        yield f"{file}:{line_of(node, ('apiVersion',))}: apiVersion: is {version!r}; use {API_VERSION}"
    else:
        for error in (*_metadata_errors(document.get("metadata")), *field_errors(MODELS[kind], document)):
            yield f"{file}:{line_of(node, error.path)}: {error}"


def _metadata_errors(metadata: Any) -> Iterator[FieldError]:
    """Yield what Kubernetes' metadata does not have; what it has is carried along."""
    for name in metadata if isinstance(metadata, dict) else ():
        if name not in OBJECT_META:
            yield FieldError(
                path=("metadata", name), problem="is no field here", remedy=did_you_mean(name, OBJECT_META)
            )


def _with_defaults(document: dict[str, Any], namespace: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, **document["metadata"]}
    return MODELS[document["kind"]].model_validate({**document, "metadata": metadata}).to_dict()


def _repeated(places: Sequence[str], manifests: Sequence[dict[str, Any]]) -> Iterator[str]:
    seen: dict[tuple[str, str, str], str] = {}
    for place, manifest in zip(places, manifests, strict=True):
        identity = (manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        if identity in seen:
            kind, namespace, name = identity
            yield f"{place}: metadata.name: {kind} {namespace}/{name} is in {seen[identity]} too; rename one"
        seen[identity] = place


def _unreadable(file: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{file}: cannot be read ({error.strerror}); check the path"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{file}:{error.problem_mark.line + 1}: is no YAML ({error.problem}); correct this line"
    if isinstance(error, RecursionError):
        return f"{file}: is nested too deeply; correct the brackets"
    return f"{file}: is no YAML in UTF-8; correct the file"
