"""The data that a job trains on."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import SourceUri
from finetune_operator.api.rules import Rule
from finetune_operator.api.secrets import SecretKeyRef

DatasetFormat = Literal["chat", "text"]


class Dataset(ApiModel):
    """JSON lines or parquet, and how to read them."""

    uri: SourceUri
    """hf://ORG/NAME on the Hugging Face hub, s3://BUCKET/KEY, or a path relative to the volume's root."""

    format: DatasetFormat = "chat"
    """chat: every line has `messages`, and only the assistant's turns are learned. text: every line has
    `text`, and all of it is learned. Files are *.jsonl or *.parquet. Default: chat."""

    split: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=128)] = "train"
    """The split, where files or folders are named after splits. Default: train."""

    validation_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The share of the data, 0 to 0.5, that is held out to measure the validation loss. Default: 0."""


class DatasetSpec(Dataset):
    """The dataset, with the token that opens it."""

    token_secret_ref: SecretKeyRef | None = None
    """The Secret key that holds the hub's token, for a gated or private hf:// dataset."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.tokenSecretRef) || self.uri.startsWith('hf://')",
            problem="only an hf:// dataset takes a token",
            remedy="remove it; credentials for s3:// come from workers.podTemplate.env",
            field="tokenSecretRef",
        ),
    )
