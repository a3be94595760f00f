"""Tokens that steer the model, in texts where people wrote them: there they are text, or an error."""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property

from finetune_trainer.data.marks import THINK
from finetune_trainer.data.template import ChatTemplate

_QUESTION = {"role": "user", "content": "What is it?"}
_ANSWER = "It is a word."
# Tokenizers also have added tokens that are words or runs of spaces; those steer nothing.
_TAG = re.compile(r"<.+>|\[.+\]", re.DOTALL)


class ControlTokens:
    """`added`: the tokenizer's added tokens by text, and whether it calls them special."""

    def __init__(self, added: Mapping[str, bool], template: ChatTemplate | None, eos: str) -> None:
        self._added, self._eos = added, eos
        answered = template and template.succeeds([_QUESTION, {"role": "assistant", "content": _ANSWER}])
        prompt = template and template.succeeds([_QUESTION], prompt=True)
        self._chat, self._closing = f"{answered or ''}{prompt or ''}", (answered or "").partition(_ANSWER)[2]

    @cached_property
    def of_turns(self) -> re.Pattern[str]:
        """Special tokens and those that begin and end turns, which no text holds; not think tags."""
        return _any_of(
            token
            for token, special in self._added.items()
            if (special and _TAG.fullmatch(token)) or token in self._chat
            if not THINK.fullmatch(token)
        )

    @cached_property
    def all_tags(self) -> re.Pattern[str]:
        """Every token that looks like a tag: text where a user or a tool writes it."""
        return _any_of(token for token in self._added if _TAG.fullmatch(token))

    @cached_property
    def added(self) -> re.Pattern[str]:
        return _any_of(self._added)

    def without_end(self, answer: str) -> str:
        """An answer without the end tokens that its row ends it with: the template writes its own."""
        while any((stripped := answer.rstrip()).endswith(token) for token in self._ends):
            answer = next(stripped.removesuffix(token) for token in self._ends if stripped.endswith(token))
        return answer

    def ends(self, answer: str) -> bool:
        """Whether a rendered answer has an end token, where the template has one at all."""
        return len(self._ends) < 2 or any(answer.rstrip().endswith(token) for token in self._ends)

    @cached_property
    def _ends(self) -> tuple[str, ...]:
        closing = self.added.match(self._closing.strip())
        return (self._eos, closing.group()) if closing else (self._eos,)


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """The longest token at the leftmost place, as tokenizers finds them."""
    wanted = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, wanted)) if wanted else r"(?!)")
