"""What of run.json says which rows are read: to train on, and to evaluate with."""

from typing import Annotated

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.dataset import Rows, Share
from finetune_operator.api.evaluation import LmEvalSpec, Metric, Requirement, TaskName
from finetune_operator.api.run_training import Count


class RunSource(Rows):
    """A dataset, where it comes from, where it is in the volume, and how its rows are read."""

    uri: str
    """As in the spec."""

    path: str
    """Its file, folder or glob, relative to the volume's root; of a remote one the folder it is fetched to.
    """

    share: Share | None = None
    """Its share of the tokens that the loss counts; null: in proportion to its size."""


class RunDataset(ApiModel):
    """The data to train on."""

    sources: Annotated[list[RunSource], Field(min_length=1)]
    """One dataset, or several."""

    validation_share: float
    """The share of each source's documents that is kept out of training."""


class RunTask(ApiModel):
    """Questions with known answers."""

    name: TaskName
    """What it is called."""

    metric: Metric
    """How an answer is scored."""

    lm_eval: LmEvalSpec | None = None
    """The task of lm-eval, for metric lm_eval."""

    source: RunSource
    """Where its rows are, and how they are read."""

    limit: Count | None = None
    """The first so many rows; null: all."""

    max_tokens: Count
    """Of an answer."""


class RunEvaluation(ApiModel):
    """What the base and the merged model are asked."""

    tasks: Annotated[list[RunTask], Field(min_length=1)]
    """The tasks."""

    require: dict[str, Requirement]
    """What the merged model has to reach, by the task's name."""
