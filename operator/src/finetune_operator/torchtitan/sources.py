"""Which flavour, base and dataset a configuration of torchtitan's means."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from finetune_operator.api.formats import URI_PATTERN

FLAVORS = {
    "671B": "671B_lora",
    "671B_lora": "671B_lora",
    "16B": "16B_lora",
    "16B_lora": "16B_lora",
    "deepseek_aghi": "deepseek_aghilora",
    "deepseek_aghilora": "deepseek_aghilora",
    "tiny_lora": "tiny_lora",
}
_CORPORA = ("c4", "c4_test", "c4_validation")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_BUILDERS = ("json", "parquet", "csv", "text", "arrow")


def name_of(stem: str) -> str:
    """Return an object's name like that of a file."""
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    return name[:40].rstrip("-") or "imported"


def base_of(keys: Mapping[str, Any], given: str | None) -> tuple[str | None, str]:
    """Return the base's URI and what to say of it; None where the file does not tell."""
    if given:
        return given, ""
    loaded = (
        keys.get("checkpoint.initial_load_path") if keys.get("checkpoint.initial_load_in_hf", True) else None
    )
    path = loaded or keys.get("hf_assets_path")
    if not isinstance(path, str) or not (folder := PurePath(path).name):
        return None, "is not in the file; give --model hf://ORG/NAME, or a folder of the volume"
    uri = f"models/{folder}"
    return (
        uri,
        f"{path} becomes {uri} in the volume: copy the weights there, or give --model hf://ORG/NAME",
    )


def dataset_of(keys: Mapping[str, Any], given: str | None) -> tuple[str | None, str]:
    """Return the dataset's URI and what to say of it; None where the file does not tell."""
    if given:
        return given, ""
    name, path = keys.get("dataloader.dataset"), keys.get("dataloader.dataset_path")
    if isinstance(path, str) and path not in _BUILDERS:
        if _REPOSITORY.fullmatch(path):
            return f"hf://{path}", f"{path} is read as hf://{path}, as datasets.load_dataset reads it"
        if re.match(URI_PATTERN, path):
            return path, f"{path} must be in the volume"
        return None, f"{path} is no place in the volume; copy it there, and give --dataset PATH"
    if name in _CORPORA:
        return (
            None,
            f"{name!r} is a corpus to pretrain on; give --dataset hf://ORG/NAME, or a path in the volume",
        )
    return (
        None,
        f"{name!r} is a dataset of your own code; give --dataset hf://ORG/NAME, or a path in the volume",
    )
