"""Thoughts that a chat template does not write, put where a server's prompt has the model write them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from finetune_trainer.data.conversation import Message
from finetune_trainer.data.marks import THINK, THOUGHT_BEGIN, THOUGHT_END, find, mark
from finetune_trainer.data.rendering import REFUSALS, Rendered, Span, bounds_of
from finetune_trainer.data.template import ChatTemplate


def with_inline_thought(message: Message, thought: str) -> Message:
    """The message with its thought in its content, as DeepSeek-R1 writes both."""
    return message | {"content": f"{THOUGHT_BEGIN}\n{thought}\n{THOUGHT_END}\n\n{message['content'] or ''}"}


def written_whole(
    rendered: Rendered, template: ChatTemplate, tools: Sequence[Any], answer: Span
) -> tuple[Rendered, int]:
    """The last message's answer after the prompt for it, with the thought that the template stripped.

    answer: where the template wrote the answer. Returns the text with what is known of the prompt's messages,
    and where the answer begins in it. Raises DataError if the template's prompt does not open a thought.
    """
    last = len(rendered.messages) - 1
    thought, closed, rest = str(rendered.messages[last]["content"]).rpartition(THOUGHT_END)
    part = rendered.stripped(last)
    if part and (not closed or part.kind != "thought"):
        raise rendered.dropped(part)
    if THINK.search(rest) or len(THINK.findall(thought)) > 1:
        raise rendered.error(last, "strips one of several thoughts")
    prompt = _prompt(rendered, template, tools)
    if prompt.text.rstrip().endswith(THOUGHT_END):
        raise rendered.error(last, "closes the thought before it begins in the prompt")
    start, end = answer
    text = prompt.text + _continued(prompt.text, thought + closed) + rendered.text[start:end]
    return replace(prompt, found=replace(prompt.found, text=text)), len(prompt.text)


def _prompt(rendered: Rendered, template: ChatTemplate, tools: Sequence[Any]) -> Rendered:
    """What a server that asks for a thought sends for the last message."""
    marked = mark(rendered.messages[:-1], everything=rendered.everything)
    try:
        found = find(template.render(marked.messages, tools=tools, prompt=True, thinking=True))
    except REFUSALS as error:
        raise rendered.line.error(
            f"the base model's chat template has no prompt for a thought: {error}"
        ) from error
    return replace(
        rendered,
        messages=rendered.messages[:-1],
        parts=marked.parts,
        found=found,
        bounds=bounds_of(marked.parts, found),
    )


def _continued(prompt: str, thought: str) -> str:
    """`thought` without the beginning that the prompt has already written."""
    if not prompt.rstrip().endswith(THOUGHT_BEGIN):
        return thought
    space = prompt[len(prompt.rstrip()) :]
    return thought.lstrip().removeprefix(THOUGHT_BEGIN).removeprefix(space)
