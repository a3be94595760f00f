"""Which of a model folder's files beside the weights a model made from it keeps."""

from collections.abc import Container
from pathlib import Path

from finetune_converter.model_files.model_folder import INDEX

CODE = "auto_map"
"""In config.json and tokenizer_config.json: the classes that code in the folder defines."""

_KEPT_SUFFIXES = (".json", ".jinja", ".model", ".tiktoken", ".txt", ".md")
_KEPT_NAMES = ("LICENSE", "LICENSE-MODEL", "NOTICE")
_WRITTEN = ("config.json", INDEX, "MANIFEST.json", "BASE_README.md")
# An adapter that lies beside a model is applied to it by transformers; the others speak of weights that
# a model made from this one does not hold.
_OF_OTHER_WEIGHTS = (
    "adapter_config.json",
    "hf_quant_config.json",
    "quant_config.json",
    "quantize_config.json",
    "verification.json",
)
_INDEX_SUFFIX = ".index.json"


def carried_files(base: Path) -> list[str]:
    """Names of the base's files that are carried over: never pickle, never code."""
    return sorted(file.name for file in base.iterdir() if file.is_file() and _is_carried(file.name))


def left_out_files(base: Path, weights: Container[str]) -> list[str]:
    """Names of what is neither carried over nor written anew; those of folders end with a slash."""
    return sorted(
        file.name if file.is_file() else f"{file.name}/"
        for file in base.iterdir()
        if not file.name.startswith(".")
        and not _is_carried(file.name)
        and file.name not in weights
        and file.name not in _WRITTEN
    )


def _is_carried(name: str) -> bool:
    kept = name.endswith(_KEPT_SUFFIXES) or name in _KEPT_NAMES
    other = name in _WRITTEN or name in _OF_OTHER_WEIGHTS or name.endswith(_INDEX_SUFFIX)
    return kept and not other and not name.startswith(".")
