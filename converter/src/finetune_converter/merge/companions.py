"""The files beside the weights: config.json made to match, tokenizer and templates carried over."""

from pathlib import Path

from finetune_converter.files.atomic import copy_file, write_json, write_text
from finetune_converter.merge.plan import MergePlan
from finetune_converter.model_files.companions import carried_files
from finetune_converter.model_files.model_folder import INDEX, SINGLE, ModelFolder

CARD, BASE_CARD = "README.md", "BASE_README.md"


def write_companions(plan: MergePlan, base: ModelFolder, card: str, folder: Path) -> list[str]:
    """Write everything that is no weight file, `card` as README.md among it; the names."""
    carried = {name: BASE_CARD if name == CARD else name for name in carried_files(base.path)}
    for name, carried_name in carried.items():
        copy_file(base.path / name, folder / carried_name)
    write_text(folder / CARD, card)
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
