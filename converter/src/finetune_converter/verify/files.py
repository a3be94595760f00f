"""The merged folder against its manifest and the plan: files, keys, dtypes, shapes, configuration."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune_converter.files.digest import digest_file
from finetune_converter.merge.plan import MergePlan
from finetune_converter.model_files.manifest import NAME
from finetune_converter.model_files.model_folder import ModelFolder
from finetune_converter.verify.gate import failed


def check_files(folder: Path, manifest: dict[str, Any], advance: Callable[[], None]) -> None:
    """Every file is the one that the manifest names, by sha256, and there is no other."""
    listed = manifest["files"]
    found = {file.name for file in folder.iterdir() if file.name != NAME}
    for name in sorted(found ^ set(listed)):
        raise failed(f"{folder / name}: {'is in no MANIFEST.json' if name in found else 'is not there'}")
    for name, record in listed.items():
        digest = digest_file(folder / name)
        if (digest.sha256, digest.size) != (record["sha256"], record["size"]):
            raise failed(f"{folder / name}: its sha256 is not the one in {NAME}")
        advance()


def check_keys(plan: MergePlan, merged: ModelFolder) -> None:
    """The tensors are those of the plan, in the plan's files, dtypes and shapes."""
    planned = {
        output.spec.name: (name, output.spec) for name, outputs in plan.files.items() for output in outputs
    }
    for name in sorted(planned.keys() ^ merged.tensors.keys()):
        raise failed(f"tensor {name!r} is {'missing' if name in planned else 'not in the base'}")
    for name, (file, spec) in planned.items():
        found = merged.tensors[name]
        expected = (file, spec.dtype, spec.shape)
        if (found.file, found.entry.dtype, found.entry.shape) != expected:
            entry = found.entry
            raise failed(
                f"{found.file}: tensor {name!r} is {entry.dtype} {list(entry.shape)}, "
                f"not {spec.dtype} {list(spec.shape)} in {file}"
            )


def check_config(plan: MergePlan, folder: Path) -> None:
    """config.json is the base's, with the dtype and quantisation of the merged tensors."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name in sorted(config.keys() | plan.config.keys()):
        if config.get(name) != plan.config.get(name):
            raise failed(
                f"{folder / 'config.json'}: {name} is {config.get(name)!r}, not {plan.config.get(name)!r}"
            )
