"""The base model: fetched or found in the volume, checked, and marked complete."""

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from finetune_trainer.base.foreign_files import foreign_content
from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.contract.run_file import Model
from finetune_trainer.model.flavors import AUTO
from finetune_trainer.prepare.architecture import check_architecture, check_tensors
from finetune_trainer.prepare.checksum import sha256_all
from finetune_trainer.prepare.debug_form import cut_debug_form, describe_debug_form, files_of_debug_form
from finetune_trainer.prepare.description import check_description
from finetune_trainer.prepare.fetch import fetch
from finetune_trainer.prepare.marker import MARKER, FileRecord, Marker, read_marker
from finetune_trainer.prepare.remote import remote_folder
from finetune_trainer.prepare.source import Listing, RemoteFile, Source
from finetune_trainer.prepare.tiktoken_model import TOKENIZER
from finetune_trainer.prepare.weights import INDEX, SUFFIX, check_weights

# What a model's folder needs to be trained, merged and served. Never pickle (*.bin, *.pt), never code (*.py).
_KEPT_SUFFIXES = (".json", ".jinja", ".model", ".txt", ".md", SUFFIX)
_KEPT_NAMES = ("LICENSE", "LICENSE-MODEL", "NOTICE")


def belongs_to_model(name: str) -> bool:
    """Whether a repository's file is part of the model: beside the weights, not in a folder below."""
    return "/" not in name and (name.endswith(_KEPT_SUFFIXES) or name in _KEPT_NAMES)


def _describes_model(name: str) -> bool:
    return belongs_to_model(name) and not name.endswith(SUFFIX)


def base_source(model: Model) -> Source | None:
    """Where the base is fetched from; None for a path in the volume. Raises ConfigurationError."""
    return remote_folder(model.uri, model.revision, "model.uri")


def prepare_base(
    model: Model,
    flavor: str,
    folder: Path,
    *,
    root: Path,
    before_weights: Callable[[], None],
    expect: Callable[[int], None],
) -> Marker:
    """Have the base complete in `folder`; its marker. The caller holds the folder's lock.

    root: the volume's, where a path of `model.uri` begins.
    before_weights: called when everything but the weights is there and fits: what else can fail should fail
    before hundreds of gigabytes are fetched.
    expect: told how many bytes the folder will hold.
    """
    marker = read_marker(folder)
    if marker is not None and marker.describes(folder):
        check_architecture(flavor, folder)
        check_tensors(flavor, folder)  # marked for another flavor, or by a version that read less
        before_weights()
        return marker
    (folder / MARKER).unlink(missing_ok=True)
    source = base_source(model)
    if model.layers == "debug":
        return _cut(model, source, folder, root, before_weights, expect)
    if source is None:
        return _check_volume(model, flavor, folder, before_weights)
    return _fetch(source, flavor, folder, before_weights, expect)


def describe_base(model: Model, flavor: str, folder: Path, root: Path) -> None:
    """Have everything of the base but its weights: what a dataset is tokenized with. Raises a Failure."""
    marker, source = read_marker(folder), base_source(model)
    if model.layers == "debug" and not (marker and marker.describes(folder)):
        _described_original(model, source, folder, root)
        source = None
    if source is not None and not (marker and marker.describes(folder)):
        _fetch_description(source, folder)
    _check_folder(model, folder)
    check_description(folder)
    check_architecture(flavor, folder)


def _check_volume(model: Model, flavor: str, folder: Path, before_weights: Callable[[], None]) -> Marker:
    _check_folder(model, folder)
    _check_links(folder)
    check_description(folder)
    check_architecture(flavor, folder)
    before_weights()
    _check_contents(flavor, folder)
    return _mark(folder, model.uri, None, _checksums(folder))


def _cut(
    model: Model,
    source: Source | None,
    folder: Path,
    root: Path,
    before_weights: Callable[[], None],
    expect: Callable[[int], None],
) -> Marker:
    """The debug form of a base, from a folder of the volume or from the files of a source that hold it."""
    original, listing = _described_original(model, source, folder, root)
    check_architecture(AUTO, folder)
    before_weights()
    if source is not None and listing is not None:
        needed = set(files_of_debug_form(original)) if (original / INDEX).exists() else None
        weights = [
            file
            for file in listing.files
            if belongs_to_model(file.name)
            and file.name.endswith(SUFFIX)
            and (needed is None or file.name in needed)
        ]
        expect(sum(file.size for file in weights))
        fetch(source, listing, weights, original)
    cut_debug_form(original, folder)
    _check_contents(AUTO, folder)
    checksums = _checksums(folder)
    if source is not None:
        shutil.rmtree(original)
    revision = listing.revision if listing is not None else None
    return _mark(folder, source.uri if source else model.uri, revision, checksums)


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and belongs_to_model(file.name))
    return {file.name: checksum for file, checksum in sha256_all(files).items()}


def _fetch_description(source: Source, folder: Path) -> Listing:
    """Have everything of a base but its weights in `folder`; what its source has."""
    listing = source.list_files()
    _fetch_described(source, listing, [file for file in listing.files if _describes_model(file.name)], folder)
    return listing


def _described_original(
    model: Model, source: Source | None, folder: Path, root: Path
) -> tuple[Path, Listing | None]:
    """Where the whole base is, and what its source has; `folder` then has what describes its debug form."""
    original, listing = root / model.uri, None
    if source is not None:
        original = folder.with_name(f"{folder.name}.original")
        listing = _fetch_description(source, original)
    _check_folder(model, original)
    _check_links(original)
    check_description(original)
    names = [file.name for file in sorted(original.iterdir()) if file.is_file()]
    describe_debug_form(original, folder, filter(_describes_model, names))
    return original, listing


def _check_folder(model: Model, folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder",
            Reason.BASE_INCOMPLETE,
            remedy="Put the base model there, or correct model.uri" + _or_hub(model.uri),
        )


def _check_links(folder: Path) -> None:
    """A Hugging Face cache's snapshot is links into blobs/. Raises DataError for one that leads nowhere."""
    for file in sorted(folder.iterdir()):
        if belongs_to_model(file.name) and (found := foreign_content(file)) and file.is_symlink():
            raise DataError(f"{file}: {found[0]}", Reason.BASE_INCOMPLETE, remedy=found[1])


def _or_hub(uri: str) -> str:
    """A repository's name without its scheme looks like a path."""
    return f"; if it is on the hub, write hf://{uri}" if re.fullmatch(r"[\w.\-]+/[\w.\-]+", uri) else ""


def _fetch(
    source: Source,
    flavor: str,
    folder: Path,
    before_weights: Callable[[], None],
    expect: Callable[[int], None],
) -> Marker:
    listing = source.list_files()
    wanted = [file for file in listing.files if belongs_to_model(file.name)]
    expect(sum(file.size for file in wanted))
    weights = [file for file in wanted if file.name.endswith(SUFFIX)]
    checksums = _fetch_described(source, listing, [file for file in wanted if file not in weights], folder)
    check_description(folder)
    checksums |= {file.name: made for file, made in sha256_all([folder / TOKENIZER]).items()}
    check_architecture(flavor, folder)
    before_weights()
    checksums |= fetch(source, listing, weights, folder)
    _check_contents(flavor, folder)
    return _mark(folder, source.uri, listing.revision, checksums)


def _fetch_described(
    source: Source, listing: Listing, files: Sequence[RemoteFile], folder: Path
) -> dict[str, str]:
    """Fetch what describes the model; a repository without it is no model in this format."""
    if "config.json" not in {file.name for file in files}:
        raise DataError(
            f"{source.uri}: config.json is missing",
            Reason.BASE_INVALID,
            remedy="Give a model in Hugging Face format, with safetensors",
        )
    return fetch(source, listing, files, folder)


def _check_contents(flavor: str, folder: Path) -> None:
    check_weights(folder)
    check_tensors(flavor, folder)


def _mark(folder: Path, source: str, revision: str | None, checksums: dict[str, str]) -> Marker:
    files = {}
    for name, checksum in checksums.items():
        status = (folder / name).stat()
        files[name] = FileRecord(size=status.st_size, sha256=checksum, modified=status.st_mtime_ns)
    marker = Marker(source=source, revision=revision, files=files)
    marker.write(folder)
    return marker
