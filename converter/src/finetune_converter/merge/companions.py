"""The files beside the weights: config.json made to match, tokenizer and templates carried over."""

import json
import shutil
from pathlib import Path

from finetune_converter.model_files.model_folder import INDEX, SINGLE, ModelFolder
from finetune_converter.merge.plan import MergePlan

CARD, BASE_CARD = "README.md", "BASE_README.md"
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


def write_companions(plan: MergePlan, base: ModelFolder, card: str, folder: Path) -> list[str]:
    """Write everything that is no weight file, `card` as README.md among it; the names."""
    carried = {name: BASE_CARD if name == CARD else name for name in carried_files(base.path)}
    for name, carried_name in carried.items():
        shutil.copyfile(base.path / name, folder / carried_name)
    (folder / CARD).write_text(card, encoding="utf-8")
    names = [*carried.values(), CARD]
    write_json(folder / "config.json", plan.config)
    names.append("config.json")
    if set(plan.files) != {SINGLE} or (base.path / INDEX).is_file():
        write_json(folder / INDEX, index_of(plan, base))
        names.append(INDEX)
    return names


def index_of(plan: MergePlan, base: ModelFolder) -> dict[str, object]:
    """model.safetensors.index.json of the merged model."""
    weight_map = {output.spec.name: name for name, outputs in plan.files.items() for output in outputs}
    metadata = {**base.index_metadata, "total_size": plan.total_size}
    return {"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))}


def write_json(path: Path, content: object) -> None:
    """Write JSON; the file appears by one rename."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
