"""Which of a model folder's files beside the weights a model made from it keeps."""

from pathlib import Path

from finetune_converter.model_files.model_folder import INDEX

_KEPT_SUFFIXES = (".json", ".jinja", ".model", ".txt", ".md")
_KEPT_NAMES = ("LICENSE", "LICENSE-MODEL", "NOTICE")


def carried_files(base: Path) -> list[str]:
    """Names of the base's files that are carried over: never pickle, never code."""
    written = {"config.json", INDEX, "MANIFEST.json"}
    return sorted(
        file.name
        for file in base.iterdir()
        if file.is_file()
        and not file.name.startswith(".")
        and (file.suffix in _KEPT_SUFFIXES or file.name in _KEPT_NAMES)
        and file.name not in written
    )
