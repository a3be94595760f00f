"""Questions with known answers, put to the base and to the merged model before that is released."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from finetune_operator.api.base import ApiModel
from finetune_operator.api.dataset import ColumnName
from finetune_operator.api.formats import (
    REQUIREMENT_PATTERN,
    TASK_NAME_PATTERN,
    Revision,
    listed_by,
)
from finetune_operator.api.rules import Rule
from finetune_operator.api.uri import NOT_READ_YET, DataUri, only_the_hub_has_revisions

Metric = Literal["exact_match", "contains", "regex", "json_schema", "tool_call", "perplexity", "lm_eval"]

TaskFormat = Literal["auto", "chat", "sharegpt", "alpaca", "prompt-completion", "text"]
TaskName = Annotated[str, StringConstraints(pattern=TASK_NAME_PATTERN, max_length=63)]
Requirement = Annotated[str, StringConstraints(pattern=REQUIREMENT_PATTERN, max_length=64)]

_NUMBER = r"[0-9]{1,9}(\.[0-9]{1,9})?"
_SHARE = r"(0(\.[0-9]{1,9})?|1(\.0{1,9})?)"
_BASE = r"(no worse|better) than base"
_OF_A_SHARE = rf"^(>= *{_SHARE}|{_BASE}( by {_SHARE})?)$"
_OF_A_PERPLEXITY = rf"^(<= *{_NUMBER}|{_BASE}( by {_NUMBER})?)$"


class LmEvalSpec(ApiModel):
    """A task of lm-eval, EleutherAI's lm-evaluation-harness, run by it on data in the volume."""

    task: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:+-]*$", max_length=128)]
    """Its name: of a YAML below the task's uri, or else of one of lm-eval's own tasks and groups, whose data
    are then read from uri."""

    metric: Annotated[
        str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(,[A-Za-z0-9_-]+)?$", max_length=128)
    ] = "acc"
    """Which of its metrics counts, as lm-eval names it; with a filter of the task's:
    exact_match,strict-match."""

    num_fewshot: Annotated[int, Field(ge=0, le=100)] | None = None
    """Examples before each question. Default: the task's own."""

    apply_chat_template: bool = False
    """Whether questions go through the model's chat template."""


class EvaluationTask(ApiModel):
    """A file of questions, each with what is expected, and how answers are scored."""

    name: TaskName
    """What it is called in require, in the status and in the report."""

    uri: DataUri
    """hf://ORG/NAME on the Hugging Face hub, s3://BUCKET/KEY, or a path relative to the volume's root: a
    file, a folder, or a glob. The rows are conversations in any format of dataset.format; what is expected is
    the row's `expected`, or else its last turn, the assistant's, which is then not asked."""

    metric: Metric
    """exact_match: the answer is what is expected, or one of a list. contains: it has the text in it, or
    every text of a list. regex: Python's re finds the pattern in it. json_schema: it is JSON that obeys the
    schema. tool_call: it calls the same functions with the same arguments. Each of these is the share of rows
    that do. perplexity: of the last turn, the lower the better. lm_eval: what lmEval says."""

    lm_eval: LmEvalSpec | None = None
    """The task of lm-eval, for metric lm_eval: uri is then the folder, or the hf:// dataset, of its data."""

    revision: Revision | None = None
    """Branch, tag or commit of an hf:// dataset. Default: main."""

    format: TaskFormat = "auto"
    """As of a dataset."""

    ignore_columns: Annotated[list[ColumnName], Field(max_length=64)] = []
    """Keys of a row that are known to be unused. Any other key that nothing uses is an error."""

    split: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=128)] = "test"
    """The split, where files or folders are named after splits."""

    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """The first so many rows. Default: all."""

    max_tokens: Annotated[int, Field(ge=1, le=131_072)] = 256
    """Tokens of an answer, at most."""

    rules: ClassVar[tuple[Rule, ...]] = (
        NOT_READ_YET,
        only_the_hub_has_revisions("dataset"),
        Rule(
            rule="self.format != 'text' || self.metric == 'perplexity'",
            problem="text asks nothing that an answer could be compared with",
            remedy="set metric to perplexity, or correct format",
            field="format",
        ),
        Rule(
            rule="(self.metric == 'lm_eval') == has(self.lmEval)",
            problem="lmEval goes with metric lm_eval, and with no other",
            remedy="give both, or neither",
            field="lmEval",
        ),
    )


class EvaluationSpec(ApiModel):
    """What is asked of the base and of the merged model, by vLLM, and what the merged model has to reach."""

    tasks: Annotated[list[EvaluationTask], *listed_by("name"), Field(min_length=1, max_length=16)]
    """The tasks."""

    require: Annotated[
        dict[str, Requirement], Field(max_length=16, json_schema_extra={"maxProperties": 16})
    ] = {}
    """What the merged model has to reach, by the task's name: ">= 0.9" (of perplexity "<= 12.5"), "no worse
    than base", "no worse than base by 0.01" (more than that it may not lose), "better than base by 0.1". One
    that falls short is neither released, nor pushed, nor served. Default: the figures are told alone."""

    gpus: Annotated[int, Field(ge=1, le=64)] | None = None
    """GPUs of one node that share every layer. Default: as deployment has it, or else workers.gpusPerNode."""

    max_model_len: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Tokens of question and answer together, at most. Default: deployment.maxModelLen, or else the model's
    own context length."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.require.all(name, self.tasks.exists(t, t.name == name))",
            problem="a threshold is of no task",
            remedy="name one of evaluation.tasks, or remove it",
            field="require",
        ),
        Rule(
            rule="self.tasks.all(t, t.metric in ['perplexity', 'lm_eval'] || !(t.name in self.require)"
            f" || self.require[t.name].matches(r'{_OF_A_SHARE}'))",
            problem="a share of right answers is at most 1, and the higher the better",
            remedy='write ">= 0.9", or "no worse than base by 0.01"',
            field="require",
        ),
        Rule(
            rule="self.tasks.all(t, t.metric != 'perplexity' || !(t.name in self.require)"
            f" || self.require[t.name].matches(r'{_OF_A_PERPLEXITY}'))",
            problem="a perplexity is the better the lower",
            remedy='write "<= 12.5", or "no worse than base by 0.1"',
            field="require",
        ),
    )
