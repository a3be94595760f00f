"""Marks around the texts of messages, by which each is found again in what a template makes of them.

They are characters that Unicode keeps for a program's own use (U+FDD0 to U+FDD4). A mark is inside the space
at a text's edges, so a template that trims finds what it expects, and outside of think tags, so one that
splits a text at them loses exactly the marks of what it drops.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from finetune_trainer.data.conversation import Message

_BEGIN, _END, _STOP = "\ufdd0", "\ufdd1", "\ufdd2"
GENERATED, UNGENERATED = "\ufdd3", "\ufdd4"
RESERVED = re.compile("[\ufdd0-\ufdd4]")
THOUGHT_BEGIN, THOUGHT_END = "<think>", "</think>"
THINK = re.compile(f"({THOUGHT_BEGIN}|{THOUGHT_END})")
_MARK = re.compile(f"([{_BEGIN}{_END}])([0-9]+){_STOP}|[{GENERATED}{UNGENERATED}]")

Kind = Literal["content", "thought", "call"]


@dataclass(frozen=True)
class Part:
    """A text of message `message` (from 0) that a template has to write."""

    message: int
    kind: Kind
    text: str


@dataclass(frozen=True)
class Marked:
    messages: list[Message]
    parts: list[Part]


@dataclass(frozen=True)
class Found:
    """A rendered text without its marks, and where they were."""

    text: str
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of each part that is there from its first to its last character: [start, end)."""
    generated: list[tuple[int, int]] = field(default_factory=list)
    """What {% generation %} encloses."""


def unmarked(text: str) -> str:
    return _MARK.sub("", text)


def mark(messages: Sequence[Message], *, everything: bool = True) -> Marked:
    """The messages with marks, those of the assistant only unless `everything` is marked."""
    parts: list[Part] = []
    marked = [
        _message(number, message, parts) if everything or message["role"] == "assistant" else message
        for number, message in enumerate(messages)
    ]
    return Marked(marked, parts)


def find(rendered: str) -> Found:
    """Take the marks out of a rendered text."""
    pieces: list[str] = []
    begins: dict[int, int] = {}
    found = Found("")
    length = place = opened = 0
    for match in _MARK.finditer(rendered):
        pieces.append(rendered[place : match.start()])
        length, place = length + match.start() - place, match.end()
        kind, number = match[1], int(match[2] or 0)
        if kind == _BEGIN:
            begins[number] = length
        elif kind == _END and number in begins:
            found.spans[number] = (begins[number], length)
        elif match[0] == GENERATED:
            opened = length
        elif match[0] == UNGENERATED:
            found.generated.append((opened, length))
    return Found("".join([*pieces, rendered[place:]]), found.spans, found.generated)


def _message(number: int, message: Message, parts: list[Part]) -> Message:
    marked = dict(message)
    for key, value in message.items():
        if key == "content" and isinstance(value, str) and message["role"] == "assistant":
            marked[key] = _answer(number, value, parts)
        elif key == "content" and isinstance(value, str):
            marked[key] = _text(Part(number, "content", value), parts)
        elif key == "tool_calls":
            marked[key] = [_call(number, call, parts) for call in value]
        elif key not in ("role", "content", "name", "tool_call_id"):
            marked[key] = _text(Part(number, "thought", value), parts)
    return marked


def _answer(number: int, content: str, parts: list[Part]) -> str:
    pieces: list[str] = []
    split = THINK.split(content)
    # A template that opens the thought in its prompt leaves only the closing tag to the answer.
    kind: Kind = "thought" if split[1:2] == [THOUGHT_END] else "content"
    for piece in split:
        if THINK.fullmatch(piece):
            kind = "thought" if piece == THOUGHT_BEGIN else "content"
            pieces.append(piece)
        else:
            pieces.append(_text(Part(number, kind, piece), parts))
    return "".join(pieces)


def _call(number: int, call: dict[str, Any], parts: list[Part]) -> dict[str, Any]:
    function = call["function"]
    name = _text(Part(number, "call", function["name"]), parts)
    return call | {"function": {"name": name, "arguments": _arguments(number, function["arguments"], parts)}}


def _arguments(number: int, value: Any, parts: list[Part]) -> Any:
    if isinstance(value, str):
        return _text(Part(number, "call", value), parts)
    if isinstance(value, dict):
        return {key: _arguments(number, inner, parts) for key, inner in value.items()}
    if isinstance(value, list):
        return [_arguments(number, inner, parts) for inner in value]
    return value


def _text(part: Part, parts: list[Part]) -> str:
    core = part.text.strip()
    if not core:
        return part.text
    before, _, after = part.text.partition(core)
    number = len(parts)
    parts.append(Part(part.message, part.kind, core))
    return f"{before}{_BEGIN}{number}{_STOP}{core}{_END}{number}{_STOP}{after}"


def is_whole(part: Part, rendered: str) -> bool:
    """Whether `rendered`, between a part's marks, is its text, as it is or as JSON writes it."""
    return rendered == part.text or rendered in (
        json.dumps(part.text, ensure_ascii=False)[1:-1],
        json.dumps(part.text)[1:-1],
    )
