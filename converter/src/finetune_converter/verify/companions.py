"""The files beside the weights: every one has a reason to be there, and its origin's bytes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_converter.files.digest import digest_file
from finetune_converter.model_files.manifest import SIGNATURE
from finetune_converter.model_files.model_folder import INDEX, ModelFolder
from finetune_converter.verify.gate import failed

_VOCABULARIES = frozenset({"tokenizer.json", "tokenizer.model", "tiktoken.model", "vocab.json"})
_TOKENIZER = _VOCABULARIES | {
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
}  # fmt: skip
_TEMPLATES = frozenset({"chat_template.jinja", "chat_template.json"})
_GENERATION = "generation_config.json"
_GENERATED = frozenset({"config.json", INDEX, "MANIFEST.json", "README.md", SIGNATURE})
_RENAMED = {"BASE_README.md": "README.md"}
_CODE = "auto_map"
"""Names classes of code beside the model. Code is never carried over, and so nothing may name it."""


@dataclass(frozen=True, kw_only=True)
class _Origins:
    """Whose files say how text becomes ids: the adapter's, if it was trained with a tokenizer or template."""

    base: Path
    adapter: Path

    def of(self, name: str) -> Path:
        """The file that one of the merged folder must equal. It may not exist: then there may be none."""
        tokenizer = any((self.adapter / vocabulary).is_file() for vocabulary in _VOCABULARIES)
        template = any((self.adapter / template).is_file() for template in _TEMPLATES)
        template = template or "chat_template" in _json(self.adapter / "tokenizer_config.json")
        replaced = (name in _TOKENIZER and tokenizer) or (name in _TEMPLATES and (tokenizer or template))
        own = name in _TOKENIZER | _TEMPLATES and (self.adapter / name).is_file()
        return (self.adapter if replaced or own else self.base) / _RENAMED.get(name, name)


def check_companions(base: Path, adapter: Path, merged: ModelFolder) -> None:
    """Raises Failure for a file that does not belong there, is missing, or is not its origin's."""
    folder, origins = merged.path, _Origins(base=base, adapter=adapter)
    for name in _names(folder):
        if name not in merged.files and name not in _GENERATED:
            _check_file(folder / name, name, origins.of(name))
    for name in sorted(_TOKENIZER | _TEMPLATES | {_GENERATION}):
        if origins.of(name).is_file() and not (folder / name).is_file():
            raise failed(f"{folder / name}: is not there, and {origins.of(name)} is")
    _check_ids(merged)


def _check_file(file: Path, name: str, origin: Path) -> None:
    if _loads_as_weights(name):
        raise failed(f"{file}: a second set of weights, which loaders would read")
    if not origin.is_file():
        raise failed(f"{file}: {origin} is not there, and nothing else gives a merged model this file")
    if digest_file(file) != digest_file(origin) and not _is_without_code(file, origin):
        raise failed(f"{file}: is not {origin}, byte for byte")


def _is_without_code(file: Path, origin: Path) -> bool:
    """Whether it is all of its origin's JSON but the names of code."""
    theirs = _json(origin)
    return _CODE in theirs and _json(file) == {name: theirs[name] for name in theirs if name != _CODE}


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
        model, added = content.get("model"), content.get("added_tokens")
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        if isinstance(vocabulary, dict):
            yield from vocabulary.items()
        for token in added if isinstance(added, list) else ():
            if isinstance(token, dict):
                yield str(token.get("content")), token.get("id")
        return
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = content.get(key)
        yield from ((key, token) for token in (value if isinstance(value, list) else [value]))


def _json(path: Path) -> dict[str, Any]:
    """Empty for what is none: it is compared with its origin, whatever it is."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
