"""The tokenizer that an adapter brings: what it was trained with, and so what its merged model needs."""

from pathlib import Path

from finetune_converter.adapter.vocabulary import added_tokens, token_ids
from finetune_converter.failure import Failure, Reason
from finetune_converter.files.json_object import read_json_object, read_record

TEMPLATES = frozenset({"chat_template.jinja", "chat_template.json"})
CONFIG = "tokenizer_config.json"
_GENERATION = "generation_config.json"
TOKENIZER = frozenset(
    {
        CONFIG,
        "tokenizer.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
        "tokenizer.model",
        "tiktoken.model",
    }
)
_WHOLE = frozenset({"tokenizer.json", "tokenizer.model", "tiktoken.model", "vocab.json"})
"""With one of these a folder holds a tokenizer of its own, and not only settings of the base's."""


def tokenizer_files(adapter: Path) -> frozenset[str]:
    """Names of the adapter's tokenizer and template files."""
    return frozenset(name for name in TOKENIZER | TEMPLATES if (adapter / name).is_file())


def replaced_files(adapter: Path) -> frozenset[str]:
    """Names of the base's files that give way to the adapter's, whether it has one of that name or not.

    A tokenizer gives way to a tokenizer, and a template to a template: transformers reads chat_template.jinja
    before the template in tokenizer_config.json, so one of each folder would be a third model's.
    Raises Failure(AdapterInvalid) for a tokenizer_config.json that is no JSON.
    """
    found = tokenizer_files(adapter)
    has_template = bool(found & TEMPLATES) or (
        CONFIG in found
        and bool(read_json_object(adapter / CONFIG, Reason.ADAPTER_INVALID, _AGAIN).get(_TEMPLATE))
    )
    replaced = found | (TOKENIZER if found & _WHOLE else frozenset())
    return replaced | (TEMPLATES if has_template or found & _WHOLE else frozenset())


def ends_otherwise(adapter: Path, base: Path) -> str | None:
    """What to say of a tokenizer whose last token ends no generation of the base's; None if it does.

    transformers stops at the ids of generation_config.json alone, or of config.json where there is none.
    """
    word = read_record(adapter / CONFIG).get("eos_token")
    text = word.get("content") if isinstance(word, dict) else word
    ids = token_ids(adapter) or token_ids(base)
    if not isinstance(text, str) or text not in ids:
        return None
    name = _GENERATION if (base / _GENERATION).is_file() else "config.json"
    ends = read_record(base / name).get("eos_token_id")
    if ids[text] in (ends if isinstance(ends, list) else [ends]):
        return None
    return (
        f"The adapter's tokenizer ends with {text!r}, id {ids[text]}, and {name}, which is the base's, with "
        f"{ends}: add {ids[text]} to its eos_token_id where nothing else stops a generation."
    )


def not_taken(adapter: Path) -> list[str]:
    """Names of what an adapter has of a tokenizer or of generation, and what is not taken from it."""
    found = [file.name for file in adapter.glob("*.tiktoken") if file.name not in TOKENIZER]
    templates = "additional_chat_templates"
    return sorted(
        [*found, *([f"{templates}/"] if (adapter / templates).is_dir() else [])]
        + [name for name in (_GENERATION,) if (adapter / name).is_file()]
    )


def check_vocabulary(adapter: Path, known: int) -> None:
    """Raises Failure(AdapterMismatch) for tokens beyond the `known` rows of the base's embeddings."""
    beyond = added_tokens(adapter, known)
    if beyond:
        raise Failure(
            f"{adapter}: its tokenizer adds {beyond[0]!r} and {len(beyond) - 1} more tokens beyond "
            f"the base's {known} embeddings",
            Reason.ADAPTER_MISMATCH,
            f"Resize the base first (model.resize_token_embeddings({known + len(beyond)})) and merge "
            "into that, or remove the adapter's tokenizer files if it was trained without them",
        )


_TEMPLATE = "chat_template"
_AGAIN = "Save the adapter's tokenizer again, or remove its files"
