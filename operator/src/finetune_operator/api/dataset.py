"""The data that a job trains on."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.rules import Rule
from finetune_operator.api.secrets import SecretKeyRef
from finetune_operator.api.uri import NOT_READ_YET, Uri

DatasetFormat = Literal["auto", "chat", "sharegpt", "alpaca", "prompt-completion", "text"]
TrainedTurns = Literal["all", "last", "weighted"]
Thoughts = Literal["template", "keep"]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Dataset(ApiModel):
    """JSON lines, JSON arrays or parquet, and how to read them."""

    uri: Uri
    """hf://ORG/NAME on the Hugging Face hub, s3://BUCKET/KEY, or a path relative to the volume's root."""

    format: DatasetFormat = "auto"
    """auto: recognised by the first row's keys, and named in the data report. chat: OpenAI's `messages`.
    sharegpt: `conversations` of `from` and `value`. alpaca: `instruction`, `input` and `output`.
    prompt-completion: `prompt` and `completion`. text: `text`, and all of it is learned; of the others only
    what the assistant writes."""

    train: TrainedTurns = "all"
    """Which of the assistant's turns are learned. all: every one after the first user's turn, but for those
    with `weight: 0` or `train: false`. last: the last one. weighted: only those with `weight: 1` or
    `train: true`."""

    thoughts: Thoughts = "template"
    """template: thoughts are where the chat template writes them; one that it strips from a learned turn is
    an error. keep: a learned turn is written whole after the prompt that a server would send for it, in a
    document of its own where the template changes it later."""

    ignore_columns: Annotated[list[ColumnName], Field(max_length=64)] = []
    """Keys of a row, or of a message in it, that are known to be unused. Any other key that nothing uses is
    an error."""

    split: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=128)] = "train"
    """The split, where files or folders are named after splits."""

    validation_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The share of the data, 0 to 0.5, that is held out to measure the validation loss."""


class DatasetSpec(Dataset):
    """The dataset, with the token that opens it."""

    token_secret_ref: SecretKeyRef | None = None
    """The Secret key that holds the hub's token, for a gated or private hf:// dataset."""

    rules: ClassVar[tuple[Rule, ...]] = (
        NOT_READ_YET,
        Rule(
            rule="!has(self.tokenSecretRef) || self.uri.startsWith('hf://')",
            problem="only an hf:// dataset takes a token",
            remedy="remove it; credentials for s3:// come from workers.podOverrides.env",
            field="tokenSecretRef",
        ),
        Rule(
            rule="self.format != 'text' || (self.train == 'all' && self.thoughts == 'template')",
            problem="text has no turns: all of it is learned",
            remedy="remove train and thoughts, or correct format",
            field="format",
        ),
    )
