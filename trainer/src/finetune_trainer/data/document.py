"""A document: tokens, and which of them are learnt."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class Document:
    """Tokens that attend to each other. `trained[i]` says whether the loss counts predicting `tokens[i]`."""

    tokens: list[int]
    trained: list[bool]

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.trained):
            raise ValueError(f"{len(self.tokens)} tokens and {len(self.trained)} flags")

    @property
    def length(self) -> int:
        """Positions it takes in a sequence: the last token is a label only."""
        return len(self.tokens) - 1

    def cut(self, tokens: int) -> "Document":
        return Document(tokens=self.tokens[:tokens], trained=self.trained[:tokens])


class Dropped(StrEnum):
    """Why a line trains nothing."""

    PROMPT_TOO_LONG = "promptTooLong"
    ANSWER_TOO_LONG = "answerTooLong"
