"""A preference pair: one prompt, the answer that is preferred to it and the one that is not, in TRL's forms.

https://huggingface.co/docs/trl/dataset_formats: `prompt`, `chosen` and `rejected`, as texts or as messages,
where the prompt may also be what the conversations `chosen` and `rejected` both begin with.
"""

import sys
from dataclasses import dataclass, replace
from typing import Any

from finetune_trainer.data.chat import ChatReader
from finetune_trainer.data.conversation import Conversation, Message, Turn, conversation, read_tools
from finetune_trainer.data.document import Document, Dropped
from finetune_trainer.data.fields import Fields, described
from finetune_trainer.data.formats import Reading
from finetune_trainer.data.messages import read_turns
from finetune_trainer.data.row import Line
from finetune_trainer.data.tokenizer import ChatTokenizer

SIDES = ("chosen", "rejected")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two conversations that begin alike; of each trains what the assistant says after the prompt."""

    chosen: Conversation
    rejected: Conversation


class PairReader:
    """Rows to pairs, by a base model's tokenizer and template."""

    def __init__(self, tokenizer: ChatTokenizer, reading: Reading, longest: int) -> None:
        """longest: positions of a pair, which is of both its documents."""
        self._chat = ChatReader(tokenizer, reading, sys.maxsize)
        self._reading, self._longest = reading, longest

    def documents(self, line: Line) -> list[Document | Dropped]:
        """The pair, as one document of two parts. Raises DataError naming the line.

        A pair that is too long is dropped whole: of a cut answer the model would learn another preference.
        """
        pair = read_pair(line, self._reading)
        chosen = self._chat.document(_side(line, "chosen"), pair.chosen)
        rejected = self._chat.document(_side(line, "rejected"), pair.rejected)
        if chosen.tokens == rejected.tokens:
            raise line.error('"chosen" and "rejected" are the same answer')
        both = Document(
            tokens=chosen.tokens + rejected.tokens,
            trained=chosen.trained + rejected.trained,
            rejected=len(chosen.tokens),
        )
        return [both if both.length <= self._longest else Dropped.PAIR_TOO_LONG]


def read_pair(line: Line, reading: Reading) -> Pair:
    """Raises DataError naming the line and what is wrong with the pair."""
    fields = Fields(line, line.row, "the row", reading.ignored)
    prompt, answers = fields.take("prompt"), {side: fields.take(side) for side in SIDES}
    for side, answer in answers.items():
        if not answer or (isinstance(answer, str) and not answer.strip()):
            raise line.error(
                f'the pair has no "{side}" answer',
                f'training.method: dpo needs both: add "{side}" to the row, or delete the row',
            )
    system, tools = fields.take_text("system"), read_tools(fields)
    fields.finish()
    context, completions = _split(
        line, prompt, {side: _messages(line, side, answers[side]) for side in SIDES}
    )
    if system:
        context = [{"role": "system", "content": system}, *context]
    chosen, rejected = (
        _conversation(_side(line, side), context, completions[side], tools, reading) for side in SIDES
    )
    return Pair(chosen=chosen, rejected=rejected)


def _side(line: Line, side: str) -> Line:
    """The line as errors about one of its answers name it."""
    return replace(line, place=f"{line.place} ({side})")


def _messages(line: Line, side: str, answer: Any) -> list[Message]:
    if isinstance(answer, str):
        return [{"role": "assistant", "content": answer}]
    messages = [answer] if isinstance(answer, dict) else answer
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise line.error(f'"{side}" is {described(answer)}, neither text nor messages')
    return messages


def _split(
    line: Line, prompt: Any, answers: dict[str, list[Message]]
) -> tuple[list[Message], dict[str, list[Message]]]:
    """The prompt's messages, and what each answer says after them."""
    if isinstance(prompt, str):
        said = [{"role": "user", "content": prompt}]
    elif prompt is None or isinstance(prompt, list):
        said = prompt or []
    else:
        raise line.error(f'"prompt" is {described(prompt)}, neither text nor messages')
    if said and all(_begins(answers[side], "assistant") for side in SIDES):
        return said, answers
    shared = _shared(line, answers)
    if said and said != shared[-len(said) :] and said != shared[: len(said)]:
        raise line.error('"prompt" is not what "chosen" and "rejected" begin with; a pair has one prompt')
    return shared, {side: answers[side][len(shared) :] for side in SIDES}


def _shared(line: Line, answers: dict[str, list[Message]]) -> list[Message]:
    """The messages that both begin with, up to the first answer in which they differ."""
    chosen, rejected = (answers[side] for side in SIDES)
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if chosen == rejected:
        raise line.error('"chosen" and "rejected" are the same answer')
    if not shared and all(_begins(answer, "assistant") for answer in answers.values()):
        raise line.error('the pair has no "prompt"')
    if not all(_begins(answer[shared:], "assistant") for answer in answers.values()):
        raise line.error(
            f'"chosen" and "rejected" differ in message {shared + 1}, which is no answer of the assistant; a '
            "pair has one prompt"
        )
    return chosen[:shared]


def _begins(messages: list[Message], role: str) -> bool:
    return bool(messages) and messages[0].get("role") == role


def _conversation(
    line: Line,
    context: list[Message],
    completion: list[Message],
    tools: tuple[dict[str, Any], ...],
    reading: Reading,
) -> Conversation:
    turns = read_turns(line, [*context, *completion], reading.ignored)
    silent = [
        Turn(message=turn.message, thought=turn.thought, weight=False) for turn in turns[: len(context)]
    ]
    whole = conversation(line, [*silent, *turns[len(context) :]], tools, "all")
    if not whole.trained:
        raise line.error("no turn of the answer is to train; both answers of a pair are")
    return whole
