"""A folder against its MANIFEST.json: the files that it lists, by sha256, and no other but a signature."""

from collections.abc import Callable, Iterator
from pathlib import Path

from finetune_converter.files.digest import digest_file
from finetune_converter.model_files.manifest import NAME, SIGNATURE, listed_files
from finetune_converter.verify.gate import failed

_OF_THE_FILE_SYSTEM = "lost+found"
"""An empty folder that ext4 keeps at its root, where a model may lie."""
_REMEDY = "Copy the folder again from where it was verified, or merge again"


def check_listing(folder: Path, advance: Callable[[], None] = lambda: None) -> int:
    """Every file is the one listed, none is a link, and there is no other; how many. Raises Failure."""
    listed, found = listed_files(folder), set(_files(folder)) - {NAME, SIGNATURE}
    for name in sorted(found ^ listed.keys()):
        fault = f"is not in {NAME}" if name in found else "is not there"
        raise failed(f"{folder / name}: {fault}", _REMEDY)
    for name, digest in listed.items():
        if digest_file(folder / name) != digest:
            raise failed(f"{folder / name}: its sha256 is not the one in {NAME}", _REMEDY)
        advance()
    return len(listed)


def _files(folder: Path) -> Iterator[str]:
    """Names of all files, those of folders below too. Raises Failure for what is no plain file."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            fault = f"{path}: is a link to {path.readlink()}; a model folder must hold its own bytes"
            raise failed(fault, _REMEDY)
        if path.is_file():
            yield path.relative_to(folder).as_posix()
        elif not path.is_dir():
            raise failed(f"{path}: is no plain file", _REMEDY)
        elif path != folder / _OF_THE_FILE_SYSTEM and not any(path.iterdir()):
            raise failed(f"{path}: is an empty folder, and {NAME} lists nothing in it", _REMEDY)
