"""What a merged folder says of itself: its lineage, its index, its files' metadata and its card."""

from pathlib import Path

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.digest import digest_file
from finetune_converter.files.json_object import read_json_object
from finetune_converter.model_files.manifest import NAME, read_manifest
from finetune_converter.model_files.model_folder import INDEX, ModelFolder
from finetune_converter.verify.gate import failed
from finetune_converter.verify.peft_reference import WEIGHTS

_CARD = "README.md"
_FORMAT = {"format": "pt"}
"""What transformers demands of a file's metadata: it takes "tf" for TensorFlow's."""


def check_lineage(adapter: Path, merged: Path, dtype: str) -> None:
    """MANIFEST.json and the card name this adapter, and the manifest this dtype. Raises Failure."""
    weights = adapter / WEIGHTS
    if not weights.is_file():
        raise Failure(f"{weights}: no such file", Reason.ADAPTER_MISSING, "Give the adapter's folder")
    manifest, sha256 = read_manifest(merged), digest_file(weights).sha256
    lineage = manifest.get("lineage")
    if not isinstance(lineage, dict) or lineage.get("adapterSha256") != sha256:
        raise failed(f"{merged}: it was merged from another adapter than {adapter}")
    if manifest.get("schemaVersion") != 1:
        raise failed(f"{merged / NAME}: schemaVersion is {manifest.get('schemaVersion')!r}, not 1")
    if lineage.get("dtype") != dtype:
        raise failed(f"{merged / NAME}: it was exported as {lineage.get('dtype')!r}, not as {dtype!r}")
    card = merged / _CARD
    if not card.is_file() or sha256 not in card.read_text(encoding="utf-8", errors="replace"):
        raise failed(f"{card}: is not the card of this merge, which names the adapter's sha256")


def check_index(merged: ModelFolder) -> None:
    """The index, where there is one, lists every tensor and their bytes. Raises Failure."""
    file = merged.path / INDEX
    if not file.is_file():
        return
    listed = read_json_object(file, Reason.VERIFICATION_FAILED, "Merge again")["weight_map"]
    # That a listed tensor is in its file was checked when the folder was opened.
    for name in sorted(merged.tensors.keys() - listed.keys()):
        raise failed(f"{file}: it does not list tensor {name!r}, so that some loaders leave it out")
    total = sum(found.entry.nbytes for found in merged.tensors.values())
    if merged.index_metadata.get("total_size") != total:
        said = merged.index_metadata.get("total_size")
        raise failed(f"{file}: metadata.total_size is {said!r}, and the tensors have {total} bytes")


def check_metadata(base: ModelFolder, merged: ModelFolder) -> None:
    """Every weight file has its base's metadata, or transformers' own where that has none. Raises Failure."""
    for name, file in merged.files.items():
        theirs, ours = base.files[name].header.metadata, file.header.metadata
        if ours != theirs and (theirs or ours != _FORMAT):
            raise failed(f"{file.path}: its metadata is {ours}, not {theirs or _FORMAT}")
