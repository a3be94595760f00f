"""What of the run file says which rows are read: to train on, and to evaluate with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DataSource:
    uri: str
    """`hf://org/name[/path]`, `s3://bucket/key`, or a path in the volume; the path may be a glob."""
    path: str
    """In the volume; of a remote source the folder that its files are fetched into."""
    revision: str | None
    format: Literal["auto", "chat", "sharegpt", "alpaca", "prompt-completion", "preference", "text"]
    train: Literal["all", "last", "weighted"]
    thoughts: Literal["template", "keep"]
    ignore_columns: tuple[str, ...]
    split: str
    share: float | None
    """Of the tokens that the loss counts, beside the other sources'. None: in proportion to its size."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    sources: tuple[DataSource, ...]
    validation_share: float
    """Share of each source's documents, 0 to 1, kept out of training."""

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each source, no two alike: its URI, with its split where another split has it too."""
        uris = [source.uri for source in self.sources]
        splits = [f"{source.uri}, split {source.split}" for source in self.sources]
        return tuple(
            uri
            if uris.count(uri) == 1
            else split
            if splits.count(split) == 1
            else f"{split}, sources[{number}]"
            for number, (uri, split) in enumerate(zip(uris, splits, strict=True))
        )


@dataclass(frozen=True, kw_only=True)
class LmEval:
    """A task of lm-eval."""

    task: str
    metric: str
    """As lm-eval names it, with a filter after a comma."""
    num_fewshot: int | None
    apply_chat_template: bool


@dataclass(frozen=True, kw_only=True)
class Task:
    """Questions with known answers."""

    name: str
    metric: Literal["exact_match", "contains", "regex", "json_schema", "tool_call", "perplexity", "lm_eval"]
    source: DataSource
    limit: int | None
    """The first so many rows. None: all."""
    max_tokens: int
    lm_eval: LmEval | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What the base and the merged model are asked, by the server's image."""

    tasks: tuple[Task, ...]
    require: Mapping[str, str]
