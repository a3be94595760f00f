"""The chat templates that a base model's folder holds, by name, from the files that transformers reads."""

import json
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError

from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.data.template import ChatTemplate

DEFAULT = "default"


def read_templates(folder: Path, config: dict[str, Any], special: dict[str, str]) -> dict[str, ChatTemplate]:
    """Raises DataError for one that cannot be read. `config` is tokenizer_config.json."""
    sources = _sources(folder, config)
    return {name: _compiled(folder, name, source, special) for name, source in sources.items()}


def _sources(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """chat_template.jinja goes before tokenizer_config.json, which may hold several by name."""
    sources = _in_config(folder, config)
    if not sources and (file := folder / "chat_template.json").exists():  # a processor's, of older releases
        sources = _in_config(folder, json.loads(file.read_text(encoding="utf-8")))
    if (file := folder / "chat_template.jinja").exists():
        sources[DEFAULT] = file.read_text(encoding="utf-8")
    for file in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        sources[file.stem] = file.read_text(encoding="utf-8")
    return sources


def _in_config(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    template = config.get("chat_template")
    if template is None:
        return {}
    if isinstance(template, str):
        return {DEFAULT: template}
    named = template.items() if isinstance(template, dict) else [_pair(entry) for entry in template]
    if not all(isinstance(name, str) and isinstance(source, str) for name, source in named):
        raise _unreadable(folder, DEFAULT, "it is neither a text nor a list of named ones")
    return {str(name): str(source) for name, source in named}


def _pair(entry: Any) -> tuple[Any, Any]:
    return (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None, None)


def _compiled(folder: Path, name: str, source: str, special: dict[str, str]) -> ChatTemplate:
    try:
        return ChatTemplate(source, special)
    except TemplateError as error:
        raise _unreadable(folder, name, str(error)) from error


def _unreadable(folder: Path, name: str, why: str) -> DataError:
    return DataError(
        f"{folder}: the chat template {name} cannot be read ({why})",
        Reason.BASE_INVALID,
        remedy="Fetch the base model's tokenizer files again, or correct the template",
    )
