"""The base model's own tokenizer and chat template."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torchtitan.components.tokenizer import HuggingFaceTokenizer

from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.data.control_tokens import ControlTokens
from finetune_trainer.data.row import Line
from finetune_trainer.data.template import ChatTemplate
from finetune_trainer.data.template_files import read_templates

Offsets = list[tuple[int, int]]


class Vocabulary(HuggingFaceTokenizer):
    """tokenizer.json's vocabulary and rules, and nothing else of it: no truncation, no padding.

    torchtitan's trainer builds it too, and needs no chat template: it would refuse those that are several, or
    that have {% generation %}.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(HuggingFaceTokenizer.Config):
        pass

    def __init__(self, config: Config | None = None, *, tokenizer_path: str) -> None:
        super().__init__(config, tokenizer_path=tokenizer_path)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def set_chat_template(self, template: str) -> None:
        """Not here: data/template.py."""


class ChatTokenizer:
    """Renders and tokenizes as an inference server does for the same messages."""

    def __init__(
        self,
        tokenizer: Vocabulary,
        folder: Path,
        templates: dict[str, ChatTemplate],
        added_tokens: dict[str, bool],
    ) -> None:
        """added_tokens: each one's text, and whether it is special."""
        self._tokenizer = tokenizer
        self._added_tokens = added_tokens
        self._templates = templates
        self.folder = folder
        if tokenizer.eos_id is None:
            raise _invalid(
                f"{folder}: the tokenizer has no eos_token", "Set eos_token in tokenizer_config.json"
            )
        self.eos_id: int = tokenizer.eos_id
        self.vocabulary = _model_vocabulary(folder)
        if self.vocabulary is not None and self.eos_id >= self.vocabulary:
            raise _invalid(
                f"{folder}: eos_token {tokenizer.eos_token} has id {self.eos_id}, and the model has"
                f" {self.vocabulary} tokens (vocab_size in config.json)",
                "Set eos_token in tokenizer_config.json to a token of the model's own vocabulary",
            )

    @property
    def has_chat_template(self) -> bool:
        return bool(self._templates)

    def template(self, *, tools: bool) -> ChatTemplate:
        """Of several templates the one that transformers takes: tool_use beside tools, else default."""
        name = "tool_use" if tools and "tool_use" in self._templates else "default"
        if name not in self._templates:
            raise _invalid(
                f"{self.folder}: of the chat templates {', '.join(self._templates)} none is named default",
                "Name the one to use default in tokenizer_config.json",
            )
        return self._templates[name]

    @cached_property
    def control(self) -> ControlTokens:
        template = self._templates.get("default")
        return ControlTokens(self._added_tokens, template, self._tokenizer.eos_token or "")

    def encode_rendered(
        self, text: str, as_text: Sequence[tuple[int, int]] = ()
    ) -> tuple[list[int], Offsets]:
        """Token ids of a rendered chat, and of each the characters [start, end) that it stands for.

        as_text: where the text of an added token is a person's and so no token. A template writes its own
        beginning-of-sequence token, so none is added.
        """
        if not as_text:
            encoding = self._tokenizer.tokenizer.encode(text, add_special_tokens=False)
            return encoding.ids, encoding.offsets
        ids: list[int] = []
        offsets: Offsets = []
        for start, end, plain in self._pieces(text, as_text):
            tokenizer = self._untagged if plain else self._tokenizer.tokenizer
            encoding = tokenizer.encode(text[start:end], add_special_tokens=False)
            ids += encoding.ids
            offsets += [(start + first, start + last) for first, last in encoding.offsets]
        return ids, offsets

    def _pieces(self, text: str, as_text: Sequence[tuple[int, int]]) -> list[tuple[int, int, bool]]:
        """The text between two real tokens is one piece, plain if it holds a token's text that is none."""
        tokens = [match.span() for match in self.control.added.finditer(text)]
        real = [
            span for span in tokens if not any(span[0] < end and span[1] > start for start, end in as_text)
        ]
        edges = sorted({0, len(text), *(edge for span in real for edge in span)})
        return [
            (start, end, any(start <= first < end for first, _ in as_text)) for start, end in pairwise(edges)
        ]

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a plain text, with one beginning-of-sequence (if the model has it) and one end."""
        ids: list[int] = self._tokenizer.tokenizer.encode(text, add_special_tokens=False).ids
        bos = self._tokenizer.bos_id
        begin = [] if bos is None or ids[:1] == [bos] else [bos]
        return [*begin, *ids, *([] if ids[-1:] == [self.eos_id] else [self.eos_id])]

    def check(self, line: Line, tokens: Sequence[int]) -> None:
        """Raises DataError if the tokenizer has a token that the model has not."""
        if self.vocabulary is not None and max(tokens) >= self.vocabulary:
            raise _invalid(
                f"{line.place}: token {self.decode([max(tokens)])!r} has id {max(tokens)}, and the model has"
                f" {self.vocabulary} tokens (vocab_size in config.json)",
                "Take the tokenizer that belongs to the base model",
            )

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens, special ones with it."""
        return self._tokenizer.decode(tokens, skip_special_tokens=False)

    @cached_property
    def _untagged(self) -> Tokenizer:
        """The tokenizer without its tags, to which their text is text."""
        content = json.loads(self._tokenizer.tokenizer.to_str())
        tags = self.control.all_tags
        content["added_tokens"] = [
            token for token in content["added_tokens"] if not tags.fullmatch(token["content"])
        ]
        content["post_processor"] = None
        return Tokenizer.from_str(json.dumps(content))


def load_tokenizer(folder: Path) -> ChatTokenizer:
    """The tokenizer in a model's folder; DataError if it is missing or cannot be read."""
    if not (folder / "tokenizer.json").exists():
        raise _invalid(f"{folder}: tokenizer.json is missing", "Add the tokenizer's files of the base model")
    try:
        tokenizer = Vocabulary(tokenizer_path=str(folder))
        config = _tokenizer_config(folder)
        special, added = _special_tokens(config), _added_tokens(folder, config, tokenizer)
    # tokenizers raises a bare Exception, json its own.
    except Exception as error:
        raise _invalid(
            f"{folder}: the tokenizer cannot be read ({error})", "Fetch its files again"
        ) from error
    return ChatTokenizer(tokenizer, folder, read_templates(folder, config, special), added)


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    file = folder / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return config


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    """What transformers passes to a template: bos_token, eos_token, pad_token and so on."""
    names = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
    found = {name: _text_of(name, config[name]) for name in names if config.get(name)}
    return {"bos_token": "", "eos_token": ""} | {name: token for name, token in found.items() if token}


def _text_of(name: str, token: Any) -> str:
    """A token is written as its text, or as an object that has it."""
    text = token.get("content") if isinstance(token, dict) else token
    if not isinstance(text, str):
        raise ValueError(f"{name} in tokenizer_config.json is no text")
    return text


def _added_tokens(folder: Path, config: dict[str, Any], tokenizer: Vocabulary) -> dict[str, bool]:
    """All added tokens; those of tokenizer_config.json alone are special unless it says otherwise."""
    added = tokenizer.tokenizer.get_added_tokens_decoder().values()
    said = [token for token in config.get("added_tokens_decoder", {}).values() if isinstance(token, dict)]
    own = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")).get("added_tokens", [])
    return {token.content: True for token in added} | {
        token["content"]: bool(token.get("special")) for token in [*said, *own] if "content" in token
    }


def _model_vocabulary(folder: Path) -> int | None:
    """vocab_size of config.json, if there is one."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    size = config.get("vocab_size") if isinstance(config, dict) else None
    return size if isinstance(size, int) else None


def _invalid(message: str, remedy: str) -> DataError:
    return DataError(message, Reason.BASE_INVALID, remedy=remedy)
