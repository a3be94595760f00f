"""Embeddings and head: a vocabulary of another size than the base's, and weights that the base ties."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.json_object import read_record

EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_SHOWN = 8


def check_tied(path: Path, key: str, name: str, base_config: Mapping[str, Any]) -> None:
    """Raises Failure(AdapterMismatch) for an update of a weight that is embeddings and head at once.

    What was trained is an update of one of the two uses. PEFT's own merge adds it to both, and twice with
    ensure_weight_tying: its merged model is not the adapted one.
    """
    if not base_config.get("tie_word_embeddings") or name not in (EMBEDDINGS, HEAD):
        return
    raise Failure(
        f"{path}: tensor {key!r}: the base's embeddings and head are tied (tie_word_embeddings), and an "
        f"update of {name!r} alone would change both",
        Reason.ADAPTER_MISMATCH,
        f"Untie the base first: save a copy of it with {HEAD} of its own and tie_word_embeddings false, and "
        "merge into that",
    )


def resized(
    path: Path, key: str, name: str, shape: tuple[int, ...], base_shape: tuple[int, ...]
) -> Failure | None:
    """What to say of a vocabulary of another size; None when it is not that which differs."""
    if name not in (EMBEDDINGS, HEAD) or len(shape) != 2 or shape[1:] != base_shape[1:]:
        return None
    added = added_tokens(path.parent, base_shape[0])
    names = ", ".join(map(repr, added[:_SHOWN])) + (" and more" if len(added) > _SHOWN else "")
    said = f"; the adapter's tokenizer adds {names}" if added else ""
    return Failure(
        f"{path}: tensor {key!r}: it is of a vocabulary of {shape[0]} tokens, the base's {name!r} of "
        f"{base_shape[0]}{said}",
        Reason.ADAPTER_MISMATCH,
        f"Resize the base first (model.resize_token_embeddings({shape[0]}), then save_pretrained, with the "
        "adapter's tokenizer beside it), and merge into that",
    )


def added_tokens(folder: Path, known: int) -> list[str]:
    """The tokens of a tokenizer's folder whose ids are `known` or above, in the order of their ids."""
    found = token_ids(folder)
    return sorted((content for content, number in found.items() if number >= known), key=lambda c: found[c])


def token_ids(folder: Path) -> dict[str, int]:
    """Of every token that a tokenizer's folder names, wherever transformers writes them."""
    tokenizer, config = (read_record(folder / name) for name in ("tokenizer.json", "tokenizer_config.json"))
    model, decoder = tokenizer.get("model"), config.get("added_tokens_decoder")
    listed = model.get("vocab") if isinstance(model, dict) else None
    # A Unigram model lists its tokens, each with its score, in the order of their ids.
    named: dict[Any, Any] = (
        listed
        if isinstance(listed, dict)
        else {pair[0]: number for number, pair in enumerate(listed) if isinstance(pair, list) and pair}
        if isinstance(listed, list)
        else {}
    )
    named = {**named, **read_record(folder / "added_tokens.json")}
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        if number.isdecimal() and isinstance(token, dict):
            named[token.get("content")] = int(number)
    for token in tokenizer.get("added_tokens") or []:
        if isinstance(token, dict):
            named[token.get("content")] = token.get("id")
    return {
        content: number
        for content, number in named.items()
        if isinstance(content, str) and type(number) is int
    }
