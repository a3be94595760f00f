"""A conversation as the base model's chat template writes it, and which characters of it are whose.

One check holds for all templates: the texts of every message that trains or is read are found in what the
template made of them (marks.py). What a template drops or changes is an error, never trained past.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import TemplateError

from finetune_trainer.contract.failure import DataError
from finetune_trainer.data.conversation import Message
from finetune_trainer.data.marks import THOUGHT_END, Found, Part, find, is_whole, mark
from finetune_trainer.data.row import Line
from finetune_trainer.data.template import ChatTemplate

# What a template may raise for messages that it was not written for.
REFUSALS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)
_KEEP = (
    "Set dataset.thoughts: keep to train it after the prompt that a server sends, or delete it from the data"
)
_OTHER_BASE = "Change the data, or the base model's chat template, and apply the FineTuneJob again"
_NOT_RENDERED = {
    "thought": "strips the thought",
    "content": "does not render the content",
    "call": "does not render the tool calls",
}
Span = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """Messages as a text; `bounds` is where each message that is there begins and ends: [start, end)."""

    line: Line
    messages: Sequence[Message]
    parts: Sequence[Part]
    found: Found
    bounds: dict[int, Span]
    everything: bool
    """Whether all messages are marked, not the assistant's only."""

    @property
    def text(self) -> str:
        return self.found.text

    def missing(self, number: int, kinds: Sequence[str] = tuple(_NOT_RENDERED)) -> Part | None:
        """A text of message `number` that the template dropped."""
        spans = self.found.spans
        return next(
            (
                p
                for n, p in enumerate(self.parts)
                if p.message == number and p.kind in kinds and n not in spans
            ),
            None,
        )

    def stripped(self, number: int) -> Part | None:
        """What the template dropped of message `number`, be it the closing tag of an empty thought."""
        content = str(self.messages[number]["content"] or "")
        if (part := self.missing(number)) or THOUGHT_END not in content or number not in self.bounds:
            return part
        first, last = self.bounds[number]
        before = max((end for _, end in self.bounds.values() if end <= first), default=0)
        after = min((start for start, _ in self.bounds.values() if start >= last), default=len(self.text))
        return None if THOUGHT_END in self.text[before:after] else Part(number, "thought", "")

    def error(self, number: int, what: str, remedy: str = _OTHER_BASE) -> DataError:
        role = self.messages[number]["role"]
        return self.line.error(f"the chat template {what} of message {number + 1} ({role})", remedy)

    def dropped(self, part: Part) -> DataError:
        return self.error(
            part.message, _NOT_RENDERED[part.kind], _KEEP if part.kind == "thought" else _OTHER_BASE
        )


def render(line: Line, template: ChatTemplate, messages: Sequence[Message], tools: Sequence[Any]) -> Rendered:
    """Render and find each message. Raises DataError where the template refuses, drops or changes one.

    A thought that is dropped is no error yet: in an answer that is context only, a server drops it too.
    """
    text = rendered_text(line, template, messages, tools)
    for everything in (True, False):
        marked = mark(messages, everything=everything)
        try:
            found = find(template.render(marked.messages, tools=tools))
        except REFUSALS:
            continue
        if found.text == text:
            rendered = Rendered(
                line, messages, marked.parts, found, bounds_of(marked.parts, found), everything
            )
            _check(rendered)
            return rendered
    raise line.error("what the chat template writes depends on the messages' texts", _OTHER_BASE)


def rendered_text(
    line: Line, template: ChatTemplate, messages: Sequence[Message], tools: Sequence[Any], **options: Any
) -> str:
    """The text alone. Raises DataError where the template refuses the messages."""
    try:
        return template.plain(messages, tools=tools, **options)
    except REFUSALS as error:
        raise line.error(
            f"the base model's chat template refuses the messages: {error}", _OTHER_BASE
        ) from error


def check_tools(
    line: Line, template: ChatTemplate, messages: Sequence[Message], tools: Sequence[Any]
) -> None:
    """Raises DataError if the row has tools that the template does not write."""
    if tools and template.succeeds(messages) == rendered_text(line, template, messages, tools):
        raise line.error(
            'the row has "tools", which the base model\'s chat template does not render',
            "List tools in dataset.ignoreColumns to train without, or add a template that renders them",
        )


def bounds_of(parts: Sequence[Part], found: Found) -> dict[int, Span]:
    """Of each message that is there its first and last character."""
    bounds: dict[int, Span] = {}
    for number, (start, end) in sorted(found.spans.items()):
        first, last = bounds.get(parts[number].message, (start, end))
        bounds[parts[number].message] = min(first, start), max(last, end)
    return bounds


def _check(rendered: Rendered) -> None:
    for number, part in enumerate(rendered.parts):
        if number in rendered.found.spans:
            start, end = rendered.found.spans[number]
            if (
                not is_whole(part, rendered.text[start:end])
                and rendered.messages[part.message]["role"] == "assistant"
            ):
                raise rendered.error(part.message, "changes the text")
        elif part.kind != "thought":
            raise rendered.dropped(part)
    for number, message in enumerate(rendered.messages):
        if (
            not rendered.everything
            and message["role"] != "assistant"
            and message["content"].strip() not in rendered.text
        ):
            raise rendered.error(number, "does not render the content")
        name = message.get("name") if message["role"] != "tool" else None
        if name and name not in rendered.text:
            raise rendered.error(number, "does not render the name", "List name in dataset.ignoreColumns")
