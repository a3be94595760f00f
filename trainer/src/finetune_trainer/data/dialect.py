"""What a chat template expects of messages where templates differ: found out by rendering a few."""

import json
from dataclasses import dataclass, field
from itertools import product

from finetune_trainer.data.conversation import Message, Turn
from finetune_trainer.data.messages import THOUGHTS
from finetune_trainer.data.template import ChatTemplate

_USER: Message = {"role": "user", "content": "What is it?"}
_NAME, _ARGUMENTS = "probed_function", {"key": "value"}


@dataclass(frozen=True)
class Dialect:
    """`objects`: tool calls' arguments are objects, which most templates write as JSON; DeepSeek's want text.

    `empty`: an answer of calls only has the content "", not None.
    """

    template: ChatTemplate
    objects: bool = True
    empty: bool = False
    _known: dict[str, bool] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, template: ChatTemplate) -> "Dialect":
        for objects, empty in product((True, False), repeat=2):
            text = template.succeeds([_USER, _calling(objects, empty)])
            # Otherwise Python's own writing of an object, or a text as JSON within JSON.
            if text and _NAME in text and "'key'" not in text and '\\"key' not in text:
                return cls(template, objects, empty)
        return cls(template)

    def thought_key(self, key: str) -> str | None:
        """The key by which the template reads a thought that a row has in `key`; None if by none."""
        return next((name for name in (key, *THOUGHTS) if name in self.template.fields), None)

    def message(self, turn: Turn) -> Message:
        """The message as the template takes it. A thought has to be one that the template reads."""
        message = dict(turn.message)
        if "tool_calls" in message:
            message["tool_calls"] = [self._call(call) for call in message["tool_calls"]]
            message["content"] = message["content"] or ("" if self.empty else None)
        if turn.thought and (key := self.thought_key(turn.thought[0])):
            message[key] = turn.thought[1]
        return message

    def knows(self, role: str) -> bool:
        """Whether the template tells this role from the assistant's: many take all but the user's for it."""
        if role not in self._known:
            user, assistant, other = (
                self.template.succeeds([_USER, {"role": name, "content": "It is."}])
                for name in ("user", "assistant", role)
            )
            self._known[role] = other is None or other != assistant or user == assistant
        return self._known[role]

    def _call(self, call: Message) -> Message:
        if not self.objects:
            return call
        function = call["function"]
        return call | {"function": function | {"arguments": json.loads(function["arguments"])}}


def _calling(objects: bool, empty: bool) -> Message:
    arguments = _ARGUMENTS if objects else json.dumps(_ARGUMENTS)
    call = {"id": "call00001", "type": "function", "function": {"name": _NAME, "arguments": arguments}}
    return {"role": "assistant", "content": "" if empty else None, "tool_calls": [call]}
