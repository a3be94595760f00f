"""A Hugging Face model folder: which file holds which tensor, checked before anything is read from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.json_object import read_json_object
from finetune_converter.model_files.header import TensorEntry
from finetune_converter.model_files.tensor_file import TensorFile

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")

_FETCH = "Fetch the model again, or remove what does not belong to it"


@dataclass(frozen=True, kw_only=True)
class Located:
    """A tensor and the file that holds it."""

    file: str
    entry: TensorEntry


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """An opened model folder. Open with `open_model_folder`; close when done."""

    path: Path
    files: dict[str, TensorFile]
    """Every weight file, by name, in the index's order of names."""
    tensors: dict[str, Located]
    index_metadata: dict[str, Any]
    config: dict[str, Any]

    def close(self) -> None:
        for file in self.files.values():
            file.close()

    def __enter__(self) -> "ModelFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_model_folder(path: Path, config_from: Path | None = None) -> ModelFolder:
    """Read config, index and every header; the config of another folder where this one has none.

    Raises Failure(BaseInvalid or CheckpointInvalid).
    """
    if not path.is_dir():
        raise Failure(
            f"{path}: no such model folder", Reason.BASE_INVALID, "Give the folder that holds config.json"
        )
    config = read_json_object((config_from or path) / "config.json", Reason.BASE_INVALID, _FETCH)
    weight_map, metadata = _index(path)
    files: dict[str, TensorFile] = {}
    try:
        for name in sorted(set(weight_map.values())) if weight_map else [SINGLE]:
            files[name] = TensorFile(path / name)
        tensors = _locate(path, files, weight_map)
    except BaseException:
        for file in files.values():
            file.close()
        raise
    return ModelFolder(path=path, files=files, tensors=tensors, index_metadata=metadata, config=config)


def _index(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Tensor name -> file name, empty for a model of one file without an index; and the index's metadata."""
    if not (path / INDEX).is_file():
        if (path / SINGLE).is_file():
            return {}, {}
        raise _no_weights(path)
    index = read_json_object(path / INDEX, Reason.BASE_INVALID, _FETCH)
    weight_map, metadata = index.get("weight_map"), index.get("metadata", {})
    if not isinstance(weight_map, dict) or not weight_map or not isinstance(metadata, dict):
        raise Failure(f"{path / INDEX}: no weight_map", Reason.BASE_INVALID, _FETCH)
    for tensor, name in weight_map.items():
        _check_file_name(path, tensor, name)
    return weight_map, metadata


def _no_weights(path: Path) -> Failure:
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in PICKLES)
    if pickles:
        return Failure(
            f"{path / pickles[0]}: pickle weights can run code when they are loaded and are never read",
            Reason.BASE_INVALID,
            "Use the safetensors files of the model",
        )
    shards = sorted(path.glob("*.safetensors"))
    if shards:
        fault = f"{path / INDEX}: missing, beside {len(shards)} files such as {shards[0].name}"
        return Failure(
            fault, Reason.BASE_INVALID, "Fetch the index too: it says which tensor is in which file"
        )
    return Failure(f"{path}: neither {INDEX} nor {SINGLE} is there", Reason.BASE_INVALID, _FETCH)


def _check_file_name(path: Path, tensor: str, name: object) -> None:
    if not isinstance(name, str) or Path(name).name != name or "\\" in name or name.startswith("."):
        raise Failure(
            f"{path / INDEX}: tensor {tensor!r}: {name!r} is not the name of a file in this folder",
            Reason.BASE_INVALID,
            _FETCH,
        )
    if not name.endswith(".safetensors"):
        raise Failure(
            f"{path / INDEX}: tensor {tensor!r}: {name!r} is not a safetensors file",
            Reason.BASE_INVALID,
            _FETCH,
        )
    if not (path / name).is_file():
        raise Failure(
            f"{path / INDEX}: tensor {tensor!r} is in {name!r}, which is not there",
            Reason.BASE_INVALID,
            _FETCH,
        )


def _locate(path: Path, files: dict[str, TensorFile], weight_map: dict[str, str]) -> dict[str, Located]:
    """Join headers and index. A tensor in a file but not in the index is carried over like any other."""
    tensors: dict[str, Located] = {}
    for name, entry in _entries(files):
        if entry.name in tensors:
            raise Failure(
                f"{path}: tensor {entry.name!r} is in {tensors[entry.name].file!r} and again in {name!r}",
                Reason.BASE_INVALID,
                _FETCH,
            )
        tensors[entry.name] = Located(file=name, entry=entry)
    for tensor, name in weight_map.items():
        if tensor not in tensors or tensors[tensor].file != name:
            raise Failure(
                f"{path / name}: tensor {tensor!r} of the index is not in this file",
                Reason.BASE_INVALID,
                _FETCH,
            )
    return tensors


def _entries(files: dict[str, TensorFile]) -> Iterator[tuple[str, TensorEntry]]:
    for name, file in files.items():
        for entry in file.header.tensors.values():
            yield name, entry
