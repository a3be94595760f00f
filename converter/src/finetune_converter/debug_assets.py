"""The Hugging Face assets of a debug flavour: the original's, with the layers that the flavour has."""

from pathlib import Path

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import copy_file, write_json
from finetune_converter.files.json_object import read_json_object
from finetune_converter.model_files.companions import carried_files

# Layers, and how many of them are dense; the widths are the original's.
LAYERS = {
    "tiny_lora": (4, 1),
    "deepseek_aghilora": (2, 1),
    "16B_lora": (27, 1),
    "671B_lora": (61, 3),
}


def write_debug_assets(source: Path, flavor: str, out: Path) -> list[str]:
    """Write config.json and copy tokenizer, template and generation config; the names.

    Raises Failure for an unknown flavour, an original without config.json, or a folder that is there already.
    """
    if flavor not in LAYERS:
        raise Failure(
            Reason.SETTING_INVALID, f"--flavor: {flavor} does not exist", f"Use one of {', '.join(LAYERS)}"
        )
    remedy = "Give the folder of the original model's config.json and tokenizer"
    config = read_json_object(source / "config.json", Reason.BASE_INVALID, remedy)
    if out.exists() and any(out.iterdir()):
        raise Failure(Reason.SETTING_INVALID, f"--out: {out} is not empty", "Give a new folder")
    out.mkdir(parents=True, exist_ok=True)
    names = carried_files(source)
    for name in names:
        copy_file(source / name, out / name)
    layers, dense = LAYERS[flavor]
    changed = {"num_hidden_layers": layers, "first_k_dense_replace": dense, "num_nextn_predict_layers": 0}
    # Weights of a debug flavour are made in bfloat16.
    kept = {name: value for name, value in config.items() if name != "quantization_config"}
    write_json(out / "config.json", {**kept, **changed})
    return ["config.json", *names]
