"""What the converter reads of the run file, and the run's folders (contract/README.md)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.json_object import read_json_object
from finetune_converter.model_files.export_dtype import Dtype

_REMEDY = "Write the run file again with this version of the operator"


VERIFICATION = "verification.json"
"""What the gate measured, in the run's folder."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Folders are absolute."""

    document: dict[str, Any]
    base: Path
    datasets: tuple[Path, ...]
    """The files and folders of its sources."""
    folder: Path
    dtype: Dtype
    verify: bool
    sign: bool
    """Whether the gate signs what it passes."""
    push: str | None
    """Where the merged model is to go."""
    push_format: str
    """image or modelpack, of a registry."""
    evaluation: dict[str, Any] | None
    """What is asked of the merged model before it is released."""

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def merging(self) -> Path:
        return self.folder / "merging"

    @property
    def merged(self) -> Path:
        return self.folder / "merged"


def load_run(file: Path, root: Path) -> Run:
    """Raises Failure(RunFileInvalid) naming the field."""
    document = read_json_object(file, Reason.RUN_FILE_INVALID, _REMEDY)
    version = _field(document, file, "schemaVersion", int)
    if version != 1:
        raise Failure(f"{file}: schemaVersion is {version}, not 1", Reason.RUN_FILE_INVALID, _REMEDY)
    dtype = _field(document, file, "export.dtype", str)
    if dtype not in list(Dtype):
        raise Failure(
            f"{file}: export.dtype is {dtype!r}, not one of {list(Dtype)}", Reason.RUN_FILE_INVALID, _REMEDY
        )
    push = document["export"].get("push")
    kind = _field(document, file, "export.push.format", str) if push else "image"
    if kind not in ("image", "modelpack"):
        raise Failure(
            f"{file}: export.push.format is {kind!r}, not image or modelpack",
            Reason.RUN_FILE_INVALID,
            _REMEDY,
        )
    return Run(
        document=document,
        base=root / _field(document, file, "paths.base", str),
        datasets=tuple(_datasets(root, _field(document, file, "dataset.sources", list))),
        folder=root / _field(document, file, "paths.run", str),
        dtype=Dtype(dtype),
        verify=_field(document, file, "export.verify", bool),
        sign=_field(document, file, "export.sign", bool),
        push=_field(document, file, "export.push.uri", str) if push else None,
        push_format=kind,
        evaluation=_field(document, file, "evaluation", dict) if document.get("evaluation") else None,
    )


def _datasets(root: Path, sources: list[dict[str, str]]) -> Iterator[Path]:
    """A source's path may be a glob; one that matches nothing is gone."""
    for source in sources:
        yield from sorted(root.glob(source["path"]))


def _field(document: dict[str, Any], file: Path, path: str, kind: type) -> Any:
    value: Any = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if type(value) is not kind:
        raise Failure(
            f"{file}: {path} is {value!r}, not of type {kind.__name__}", Reason.RUN_FILE_INVALID, _REMEDY
        )
    return value
