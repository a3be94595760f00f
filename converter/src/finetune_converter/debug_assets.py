"""The Hugging Face assets of a debug flavour: the original's, with the layers that the flavour has."""

from pathlib import Path

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import copy_file, write_json
from finetune_converter.files.json_object import read_json_object
from finetune_converter.model_files.companions import carried_files
from finetune_converter.model_files.flavors import flavor_config, known_flavor


def write_debug_assets(source: Path, flavor: str, out: Path) -> list[str]:
    """Write config.json and copy tokenizer, template and generation config; the names.

    Raises Failure for an unknown flavour, an original without config.json, or a folder that is there already.
    """
    flavor = known_flavor(flavor)
    remedy = "Give the folder of the original model's config.json and tokenizer"
    config = read_json_object(source / "config.json", Reason.BASE_INVALID, remedy)
    if out.exists() and any(out.iterdir()):
        raise Failure(f"--out: {out} is not empty", Reason.SETTING_INVALID, "Give a new folder")
    out.mkdir(parents=True, exist_ok=True)
    names = carried_files(source)
    for name in names:
        copy_file(source / name, out / name)
    write_json(out / "config.json", flavor_config(config, flavor))
    return ["config.json", *names]
