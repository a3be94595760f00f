"""A merged folder that says something else of itself, each vouched for by its manifest."""

import json
from pathlib import Path

from changed_files import change_config, change_index, change_lineage, change_manifest, list_again, put
from cryptography.hazmat.primitives.asymmetric import ec
from small_deepseek import load_json

from finetune_converter.signing.model_signature import sign_folder


def leave_an_empty_folder(folder: Path, _: Path) -> None:
    (folder / "assets").mkdir()


def nest_empty_folders(folder: Path, _: Path) -> None:
    (folder / ".cache/huggingface").mkdir(parents=True)


def claim_another_base(folder: Path, _: Path) -> None:
    change_base(folder, uri="hf://acme/another-base")


def claim_another_folder(folder: Path, base: Path) -> None:
    change_base(folder, uri=str(base.parent / "another"))


def claim_a_revision(folder: Path, _: Path) -> None:
    change_base(folder, revision="e815299")


def claim_a_marker(folder: Path, _: Path) -> None:
    change_base(folder, markerSha256="0" * 64)


def claim_a_run(folder: Path, _: Path) -> None:
    change_lineage(folder, run={"name": "faq", "model": {"uri": "hf://acme/another-base"}})


def claim_a_dataset(folder: Path, _: Path) -> None:
    change_lineage(folder, datasetSha256="0" * 64)


def claim_a_selection(folder: Path, _: Path) -> None:
    change_lineage(folder, selection={"step": 100, "why": "the least validation loss"})


def claim_a_loss(folder: Path, _: Path) -> None:
    change_lineage(folder, training=[{"step": 1, "loss": 0.1}])


def empty_the_manifest(folder: Path, _: Path) -> None:
    (folder / "MANIFEST.json").write_text("{}")


def drop_the_lineage(folder: Path, _: Path) -> None:
    change_manifest(folder, lineage=None)


def say_more_in_the_manifest(folder: Path, _: Path) -> None:
    change_manifest(folder, licence="MIT")


def claim_another_tool(folder: Path, _: Path) -> None:
    change_manifest(folder, tool={"name": "finetune-convert", "version": "99.0"})


def change_base(folder: Path, **fields: object) -> None:
    lineage = load_json(folder / "MANIFEST.json")["lineage"]
    change_lineage(folder, base={**lineage["base"], **fields})


def license_the_card(folder: Path, _: Path) -> None:
    """It goes on naming the adapter."""
    card = (folder / "README.md").read_text()
    put(folder, "README.md", card.replace("library_name:", "license: mit\nlibrary_name:"))


def praise_in_the_card(folder: Path, _: Path) -> None:
    card = (folder / "README.md").read_text()
    put(folder, "README.md", f"{card}\nThe best model.\n")


def drop_a_null(folder: Path, _: Path) -> None:
    """A loader takes its default for what is not there: of q_lora_rank 1536, of others a number too."""
    config = load_json(folder / "config.json")
    del config[next(name for name, value in config.items() if value is None)]
    (folder / "config.json").write_text(json.dumps(config))
    list_again(folder, "config.json")


def say_true_for_one(folder: Path, _: Path) -> None:
    """Equal in Python, and a type error to some loaders."""
    change_config(folder, topk_group=True)


def say_two_dtypes(folder: Path, _: Path) -> None:
    change_config(folder, torch_dtype="float32")


def quantise_nothing(folder: Path, _: Path) -> None:
    """FP8 that keeps every module out: true of the weights, and nothing that the export was asked for."""
    kept = ["self_attn", "mlp", "lm_head"]
    quantization = {"quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": kept}
    change_config(folder, quantization_config=quantization)


def scale_activations(folder: Path, _: Path) -> None:
    """Static scales of activations are tensors, which vLLM then looks for."""
    config = load_json(folder / "config.json")["quantization_config"]
    change_config(folder, quantization_config={**config, "activation_scheme": "static"})


def describe_the_index(folder: Path, _: Path) -> None:
    metadata = load_json(folder / "model.safetensors.index.json")["metadata"]
    change_index(folder, metadata={**metadata, "total_parameters": 1})


def say_more_in_the_index(folder: Path, _: Path) -> None:
    change_index(folder, all_checkpoint_keys=[])


def sign_another_model(folder: Path, _: Path) -> None:
    """A signature of the folder as it was before a file of it changed."""
    sign_folder(folder, ec.generate_private_key(ec.SECP256R1()))
    manifest = load_json(folder / "MANIFEST.json")
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))


def hide_behind_the_signature(folder: Path, _: Path) -> None:
    (folder / "model.sig").write_text("#!/bin/sh\n")
