"""Whether what describes a model is there: config.json, a tokenizer, no quantisation that is not read."""

import json
from pathlib import Path

from finetune_trainer.base.foreign_files import foreign_content
from finetune_trainer.base.hf_config import CONFIG
from finetune_trainer.base.quantization import check_side_files
from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.prepare.tiktoken_model import TOKENIZER, convert_tiktoken


def check_description(folder: Path) -> None:
    """Raises DataError saying what the folder, or a file that describes the model, is instead.

    A tokenizer whose rules are published is converted here, once (prepare/tiktoken_model.py).
    """
    if not (folder / CONFIG).exists():
        raise _without_config(folder)
    check_side_files(folder)
    for file in sorted(folder.glob("*.json")):
        if found := foreign_content(file):
            raise DataError(f"{file}: {found[0]}", Reason.BASE_INCOMPLETE, remedy=found[1])
    convert_tiktoken(folder)
    if not (folder / TOKENIZER).exists():
        raise _without_tokenizer(folder)


def _without_config(folder: Path) -> DataError:
    if found := foreign_content(folder / CONFIG):
        return DataError(f"{folder / CONFIG}: {found[0]}", Reason.BASE_INCOMPLETE, remedy=found[1])
    below = sorted(
        file.parent for pattern in ("*", "snapshots/*") for file in folder.glob(f"{pattern}/{CONFIG}")
    )
    if below:
        kind = "a Hugging Face cache" if (folder / "snapshots").is_dir() else "no model itself"
        places = ", ".join(str(found.relative_to(folder)) for found in below)
        return DataError(
            f"{folder}: {kind}; the model is in {places}",
            Reason.BASE_INCOMPLETE,
            remedy="Give that folder as model.uri",
        )
    return DataError(
        f"{folder / CONFIG}: missing",
        Reason.BASE_INCOMPLETE,
        remedy="Give a model in Hugging Face format, with safetensors, as model.uri",
    )


def _without_tokenizer(folder: Path) -> DataError:
    """tokenizer.json alone holds all of a tokenizer: the other forms need the code that came with them."""
    tiktoken = sorted([*folder.glob("*tiktoken*"), *folder.glob("tokenizer.model")])
    found = next((file.name for file in tiktoken if file.suffix != ".py"), None)
    if found is None:
        return DataError(
            f"{folder}: {TOKENIZER} is missing",
            Reason.BASE_INVALID,
            remedy="Add the tokenizer's files of the base model",
        )
    kind = "SentencePiece" if found == "tokenizer.model" and not _names_tiktoken(folder) else "tiktoken"
    return DataError(
        f"{folder}: {TOKENIZER} is missing; the tokenizer is there as {kind} only ({found})",
        Reason.BASE_INVALID,
        remedy="Convert it where its code is trusted: AutoTokenizer.from_pretrained(FOLDER).save_pretrained"
        "(FOLDER) if that is a fast one, else transformers.convert_slow_tokenizer, and save the result as "
        + TOKENIZER,
    )


def _names_tiktoken(folder: Path) -> bool:
    """Moonlight's and Kimi's tokenizer_config.json names the class of their code."""
    try:
        return "tiktoken" in json.dumps(json.loads((folder / "tokenizer_config.json").read_text())).lower()
    except (OSError, ValueError):
        return False
