"""The data that a job trains on: one dataset, or several and their shares."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import Revision
from finetune_operator.api.rules import Rule
from finetune_operator.api.secrets import SecretKeyRef
from finetune_operator.api.uri import NOT_READ_YET, DataUri, only_the_hub_has_revisions

DatasetFormat = Literal["auto", "chat", "sharegpt", "alpaca", "prompt-completion", "preference", "text"]
TrainedTurns = Literal["all", "last", "weighted"]
Thoughts = Literal["template", "keep"]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Share = Annotated[float, Field(gt=0, le=1_000_000)]

_HAS_REVISIONS = only_the_hub_has_revisions("dataset")
_TEXT_HAS_NO_TURNS = Rule(
    rule="self.format != 'text' || (self.train == 'all' && self.thoughts == 'template')",
    problem="text has no turns: all of it is learned",
    remedy="remove train and thoughts, or correct format",
    field="format",
)


class Rows(ApiModel):
    """How the rows of a dataset are read."""

    revision: Revision | None = None
    """Branch, tag or commit of an hf:// dataset. Default: main. A commit makes the run repeatable."""

    format: DatasetFormat = "auto"
    """auto: recognised by the first row's keys, and named in the data report. chat: OpenAI's `messages`.
    sharegpt: `conversations` of `from` and `value`. alpaca: `instruction`, `input` and `output`.
    prompt-completion: `prompt` and `completion`. preference: `prompt`, `chosen` and `rejected`, for
    training.method dpo. text: `text`, and all of it is learned; of the others only what the assistant
    writes."""

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


class DatasetSource(Rows):
    """One dataset of several."""

    uri: DataUri
    """hf://ORG/NAME on the Hugging Face hub, s3://BUCKET/KEY, or a path relative to the volume's root: a
    file, a folder, or a glob of them such as chats/2026-*/*.jsonl."""

    share: Share | None = None
    """Its share of what is learned: of the tokens that the loss counts, beside the other sources' shares.
    They need not add up to 1. A source that runs out begins again. Every source has a share, or none has;
    then each is trained in proportion to its size. Default: none."""

    rules: ClassVar[tuple[Rule, ...]] = (NOT_READ_YET, _HAS_REVISIONS, _TEXT_HAS_NO_TURNS)


class DatasetSpec(Rows):
    """JSON lines, JSON arrays or parquet, and how to read them: one dataset (uri), or several (sources)."""

    uri: DataUri | None = None
    """hf://ORG/NAME on the Hugging Face hub, s3://BUCKET/KEY, or a path relative to the volume's root: a
    file, a folder, or a glob of them such as chats/2026-*/*.jsonl. Either this or sources."""

    sources: Annotated[list[DatasetSource], Field(max_length=32)] = []
    """Several datasets, each with how it is read, mixed by their shares. Either this or uri."""

    validation_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """The share of the data, 0 to 0.5, that is held out to measure the validation loss: of each source as
    much."""

    token_secret_ref: SecretKeyRef | None = None
    """The Secret key that holds the hub's token, for gated or private hf:// datasets."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.uri) != (size(self.sources) > 0)",
            problem="needs either uri or sources",
            remedy="name one dataset by uri, or list several under sources",
        ),
        Rule(
            rule="size(self.sources) == 0 || (self.format == 'auto' && self.train == 'all'"
            " && self.thoughts == 'template' && size(self.ignoreColumns) == 0 && self.split == 'train'"
            " && !has(self.revision))",
            problem="each source says for itself how it is read",
            remedy="move format, train, thoughts, ignoreColumns, split and revision into the sources",
            field="sources",
        ),
        Rule(
            rule="self.sources.all(s, has(s.share)) || self.sources.all(s, !has(s.share))",
            problem="some of them have a share and some have none",
            remedy="give every source a share, or none",
            field="sources",
        ),
        Rule(
            rule="!has(self.tokenSecretRef) || (has(self.uri) && self.uri.startsWith('hf://'))"
            " || self.sources.exists(s, s.uri.startsWith('hf://'))",
            problem="only an hf:// dataset takes a token",
            remedy="remove it; credentials for s3:// come from workers.podOverrides.env",
            field="tokenSecretRef",
        ),
        NOT_READ_YET,
        _HAS_REVISIONS,
        _TEXT_HAS_NO_TURNS,
    )

    @property
    def each(self) -> list[DatasetSource]:
        """The sources; the one dataset where there is one."""
        if self.uri is None:
            return self.sources
        rows = {name: getattr(self, name) for name in Rows.model_fields}
        # What is valid here is valid there.
        return [DatasetSource.model_construct(uri=self.uri, **rows)]
