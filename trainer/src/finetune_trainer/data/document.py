"""A document: tokens, and which of them are learnt."""

from dataclasses import dataclass, replace
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class Document:
    """Tokens that attend to each other. `trained[i]` says whether the loss counts predicting `tokens[i]`."""

    tokens: list[int]
    trained: list[bool]
    tokens_cut: int = 0
    """How many a conversation that is too long lost at its end."""
    line: int = 0
    """The line of the dataset, counted from 1 over all its files."""
    rejected: int = 0
    """Of a preference pair: where its rejected answer's tokens begin, with the prompt. 0: no pair."""

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.trained):
            raise ValueError(f"{len(self.tokens)} tokens and {len(self.trained)} flags")

    @property
    def length(self) -> int:
        """Positions it takes in a sequence: the last token is a label only, of each part of a pair."""
        return len(self.tokens) - (2 if self.rejected else 1)

    def cut(self, tokens: int) -> "Document":
        """The first `tokens` tokens."""
        cut = len(self.tokens) - tokens
        return replace(self, tokens=self.tokens[:tokens], trained=self.trained[:tokens], tokens_cut=cut)


class Dropped(StrEnum):
    """Why a line trains nothing."""

    PROMPT_TOO_LONG = "promptTooLong"
    ANSWER_TOO_LONG = "answerTooLong"
    PAIR_TOO_LONG = "pairTooLong"
    NOTHING_TRAINS = "nothingTrains"
    """Its turns are all marked as not to train."""
