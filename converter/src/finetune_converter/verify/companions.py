"""The files beside the weights: every one has a reason to be there, and its origin's bytes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune_converter.files.digest import digest_file
from finetune_converter.model_files.model_folder import INDEX, ModelFolder
from finetune_converter.verify.gate import failed

_TOKENIZER = re.compile(
    r"tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)"
    r"|merges\.txt|.+\.tiktoken|tokenizer\.model|chat_template\.(jinja|json)|additional_chat_templates/[^/]+\.jinja"
)
"""What decides how text becomes ids: of the adapter, if it was trained with a tokenizer of its own."""
_GENERATION = "generation_config.json"
_GENERATED = frozenset({"config.json", INDEX, "MANIFEST.json", "README.md"})
_RENAMED = {"BASE_README.md": "README.md"}


def check_companions(base: Path, adapter: Path, merged: ModelFolder) -> None:
    """Raises Failure for a file that does not belong there, is missing, or is not its origin's."""
    folder, weights = merged.path, merged.files.keys()
    tokenizer = adapter if (adapter / "tokenizer.json").is_file() else base
    for name in _names(folder):
        if name in weights or name in _GENERATED:
            continue
        origin = (tokenizer if _TOKENIZER.fullmatch(name) else base) / _RENAMED.get(name, name)
        if _loads_as_weights(name):
            raise failed(f"{folder / name}: a second set of weights, which loaders would read")
        if not origin.is_file():
            raise failed(f"{folder / name}: neither the base nor the adapter has it")
        if digest_file(folder / name) != digest_file(origin):
            raise failed(f"{folder / name}: is not {origin}, byte for byte")
    for origin in (tokenizer, base):
        for name in _names(origin):
            is_tokenizers = origin == tokenizer and _TOKENIZER.fullmatch(name)
            is_needed = is_tokenizers or (origin == base and name == _GENERATION)
            if is_needed and not (folder / name).is_file():
                raise failed(f"{folder / name}: is not there, and {origin / name} is")
    _check_ids(merged)


def _names(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())


def _loads_as_weights(name: str) -> bool:
    """What transformers, PEFT or vLLM would load, perhaps before the weights that were checked."""
    return name.startswith("adapter_") or name.endswith(
        (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".index.json")
    )


def _check_ids(merged: ModelFolder) -> None:
    """No id that the tokenizer or the configuration names is beyond the embeddings."""
    embeddings = merged.tensors.get("model.embed_tokens.weight")
    if embeddings is None or not embeddings.entry.shape:
        return
    rows = embeddings.entry.shape[0]
    for name in ("tokenizer.json", _GENERATION, "config.json"):
        for what, token in _ids(name, _json(merged.path / name)):
            if type(token) is int and not 0 <= token < rows:
                raise failed(f"{merged.path / name}: {what} is id {token} of embeddings of {rows} rows")


def _ids(name: str, content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if name == "tokenizer.json":
        vocabulary = (content.get("model") or {}).get("vocab")
        if isinstance(vocabulary, dict):
            yield from vocabulary.items()
        yield from ((token.get("content"), token.get("id")) for token in content.get("added_tokens") or ())
        return
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = content.get(key)
        yield from ((key, token) for token in (value if isinstance(value, list) else [value]))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return {}  # it has its origin's bytes, whatever they are
    return content if isinstance(content, dict) else {}
