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
    marker = _Marker()
    marked = [
        marker.message(number, message) if everything or message["role"] == "assistant" else message
        for number, message in enumerate(messages)
    ]
    return Marked(marked, marker.parts)


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


class _Marker:
    """Puts marks around texts, and keeps what is between them: a mark's number is its text's place."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def message(self, number: int, message: Message) -> Message:
        marked = dict(message)
        for key, value in message.items():
            if key == "content" and isinstance(value, str) and message["role"] == "assistant":
                marked[key] = self._answer(number, value)
            elif key == "content" and isinstance(value, str):
                marked[key] = self._text(Part(number, "content", value))
            elif key == "tool_calls":
                marked[key] = [self._call(number, call) for call in value]
            elif key not in ("role", "content", "name", "tool_call_id"):
                marked[key] = self._text(Part(number, "thought", value))
        return marked

    def _answer(self, number: int, content: str) -> str:
        pieces: list[str] = []
        split = THINK.split(content)
        # A template that opens the thought in its prompt leaves only the closing tag to the answer.
        kind: Kind = "thought" if split[1:2] == [THOUGHT_END] else "content"
        for piece in split:
            if THINK.fullmatch(piece):
                kind = "thought" if piece == THOUGHT_BEGIN else "content"
                pieces.append(piece)
            else:
                pieces.append(self._text(Part(number, kind, piece)))
        return "".join(pieces)

    def _call(self, number: int, call: dict[str, Any]) -> dict[str, Any]:
        function = call["function"]
        name = self._text(Part(number, "call", function["name"]))
        return call | {
            "function": {"name": name, "arguments": self._arguments(number, function["arguments"])}
        }

    def _arguments(self, number: int, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(Part(number, "call", value))
        if isinstance(value, dict):
            return {key: self._arguments(number, inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._arguments(number, inner) for inner in value]
        return value

    def _text(self, part: Part) -> str:
        core = part.text.strip()
        if not core:
            return part.text
        before, _, after = part.text.partition(core)
        number = len(self.parts)
        self.parts.append(Part(part.message, part.kind, core))
        return f"{before}{_BEGIN}{number}{_STOP}{core}{_END}{number}{_STOP}{after}"


def is_whole(part: Part, rendered: str) -> bool:
    """Whether `rendered`, between a part's marks, is its text, as it is or as JSON writes it."""
    return rendered == part.text or rendered in (
        json.dumps(part.text, ensure_ascii=False)[1:-1],
        json.dumps(part.text)[1:-1],
    )
