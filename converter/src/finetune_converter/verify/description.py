"""What a merged folder says of its tensors: its index, and its files' metadata."""

from finetune_converter.failure import Reason
from finetune_converter.files.json_object import read_json_object
from finetune_converter.model_files.model_folder import INDEX, ModelFolder
from finetune_converter.verify.gate import failed

_FORMAT = {"format": "pt"}
"""What transformers demands of a file's metadata: it takes "tf" for TensorFlow's."""


def check_index(base: ModelFolder, merged: ModelFolder) -> None:
    """The index, where there is one, lists every tensor and their bytes, and the base's metadata."""
    file = merged.path / INDEX
    if not file.is_file():
        return
    index = read_json_object(file, Reason.VERIFICATION_FAILED, "Merge again")
    listed = index["weight_map"]
    for name in sorted(index.keys() - {"metadata", "weight_map"}):
        raise failed(f"{file}: {name} is unknown")
    # That a listed tensor is in its file was checked when the folder was opened.
    for name in sorted(merged.tensors.keys() - listed.keys()):
        raise failed(f"{file}: it does not list tensor {name!r}, so that some loaders leave it out")
    total = sum(found.entry.nbytes for found in merged.tensors.values())
    if merged.index_metadata.get("total_size") != total:
        said = merged.index_metadata.get("total_size")
        raise failed(f"{file}: metadata.total_size is {said!r}, and the tensors have {total} bytes")
    if merged.index_metadata != base.index_metadata | {"total_size": total}:
        raise failed(f"{file}: its metadata is {merged.index_metadata!r:.200}, and not the base's")


def check_metadata(base: ModelFolder, merged: ModelFolder) -> None:
    """Every weight file has its base's metadata, or transformers' own where that has none. Raises Failure."""
    for name, file in merged.files.items():
        theirs, ours = base.files[name].header.metadata, file.header.metadata
        if ours != theirs and (theirs or ours != _FORMAT):
            raise failed(f"{file.path}: its metadata is {ours}, not {theirs or _FORMAT}")
