"""Where in a rendered conversation the model writes: from the end of the prompt to the end of the answer."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune_trainer.data.marks import find, mark
from finetune_trainer.data.rendering import REFUSALS, Rendered, Span
from finetune_trainer.data.template import ChatTemplate

_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True)
class TurnFinder:
    """What a template writes between texts depends on what is between them: rendered once, then known.

    So the turns of a conversation are found in time linear in its length.
    """

    template: ChatTemplate
    _openings: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False)
    _closings: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False)

    def spans(self, rendered: Rendered, turns: Sequence[int], tools: Sequence[Any]) -> list[Span]:
        """What the model writes in each of `turns`, with the end token. Raises DataError where unclear."""
        if self.template.marks_generation:
            return _generated(rendered, turns)
        order = sorted((bounds, number) for number, bounds in rendered.bounds.items())
        starts = [bounds[0] for bounds, _ in order]
        spans = []
        for turn in turns:
            first, last = rendered.bounds[turn]
            place = bisect_left(starts, first)
            before = order[place - 1] if place else ((0, 0), -1)
            after = order[place + 1] if place + 1 < len(order) else None
            start = self._start(rendered, turn, before, tools)
            spans.append((min(start, first), self._end(rendered, turn, last, after, tools)))
        return spans

    def _start(self, rendered: Rendered, turn: int, before: tuple[Span, int], tools: Sequence[Any]) -> int:
        """Where a server's prompt ends. Some open a thought that an answer without one does not have."""
        (_, place), previous = before
        first = rendered.bounds[turn][0]
        key = (_kind(rendered, previous), _kind(rendered, turn), rendered.text[place:first])
        opening = self._openings.get(key)
        if opening is None:
            opening = self._tail(rendered, turn, tools, prompt=True) or ""
            if rendered.everything:
                self._openings[key] = opening
        return place + _common_prefix(opening, rendered.text[place : place + len(opening)])

    def _end(
        self, rendered: Rendered, turn: int, last: int, after: tuple[Span, int] | None, tools: Sequence[Any]
    ) -> int:
        if after is None and turn == len(rendered.messages) - 1:
            return len(rendered.text.rstrip())
        between = rendered.text[last : after[0][0] if after else len(rendered.text)]
        key = (_kind(rendered, turn), _kind(rendered, after[1] if after else -1), between)
        closing = self._closings.get(key)
        if closing is None:
            closing = self._tail(rendered, turn + 1, tools)
            if closing is not None and rendered.everything:
                self._closings[key] = closing
        if closing is None or not rendered.text.startswith(closing.rstrip(), last):
            problem = f"the chat template changes message {turn + 1} when later turns follow it"
            raise rendered.line.error(problem)
        return last + len(closing.rstrip())

    def _tail(
        self, rendered: Rendered, count: int, tools: Sequence[Any], *, prompt: bool = False
    ) -> str | None:
        """What follows the last text of the first `count` messages alone."""
        marked = mark(rendered.messages[:count], everything=rendered.everything)
        try:
            found = find(self.template.render(marked.messages, tools=tools, prompt=prompt))
        except REFUSALS:
            return None
        ends = [
            end
            for number, (_, end) in found.spans.items()
            if prompt or marked.parts[number].message == count - 1
        ]
        return found.text[max(ends, default=0) :] if ends or prompt else None


def _kind(rendered: Rendered, number: int) -> str:
    if number < 0:
        return ""
    message = rendered.messages[number]
    return f"{message['role']} calls" if message.get("tool_calls") else str(message["role"])


def _generated(rendered: Rendered, turns: Sequence[int]) -> list[Span]:
    spans = []
    for turn in turns:
        first, last = rendered.bounds[turn]
        own = [(start, end) for start, end in rendered.found.generated if start < last and end > first]
        if not own:
            raise rendered.error(turn, "marks with {% generation %} nothing")
        spans += own
    return spans


def _common_prefix(opening: str, text: str) -> int:
    """How much of `opening` the text begins with; of a tag all or nothing."""
    pairs = enumerate(zip(opening, text, strict=False))
    common = next((i for i, (x, y) in pairs if x != y), min(len(opening), len(text)))
    cut = (tag.start() for tag in _TAG.finditer(opening) if tag.start() < common < tag.end())
    return next(cut, common)
