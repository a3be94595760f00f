"""Figures: what base and merged model reached in a task, and whether that is what is required."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune_converter.evaluate.answers import BASE, TUNED, Answers
from finetune_converter.evaluate.asking import Record
from finetune_converter.evaluate.requirement import is_met
from finetune_converter.evaluate.scoring import perplexity
from finetune_converter.evaluate.task import LM_EVAL, PERPLEXITY, Task
from finetune_converter.failure import Failure, Reason


@dataclass(frozen=True, kw_only=True)
class Score:
    """Of one task."""

    task: str
    metric: str
    base: float
    tuned: float
    rows: int
    required: str | None
    lower_is_better: bool = False

    @property
    def falls_short(self) -> bool:
        return self.required is not None and not is_met(
            self.required, base=self.base, tuned=self.tuned, lower_is_better=self.lower_is_better
        )

    @property
    def sentence(self) -> str:
        required = f", required {self.required}" if self.required else ""
        return f"{self.task}: {self.metric} {self.tuned:.4g}, the base's {self.base:.4g}{required}"

    def to_json(self) -> dict[str, Any]:
        """As the contract has it: of evaluation.json, MANIFEST.json and the termination log."""
        return {
            "task": self.task,
            "metric": self.metric,
            "base": self.base,
            "tuned": self.tuned,
            "rows": self.rows,
            "required": self.required,
        }


def scores_of(tasks: Sequence[Task], answers: Answers) -> tuple[Score, ...]:
    """A score a task."""
    return tuple(_score(task, answers[BASE, task.name], answers[TUNED, task.name]) for task in tasks)


def _score(task: Task, base: Sequence[Record], tuned: Sequence[Record]) -> Score:
    # lm-eval says itself what it has measured.
    told = tuned[0] if task.metric == LM_EVAL else {}
    return Score(
        task=task.name,
        metric=told.get("metric", task.metric).removesuffix(",none"),
        base=_figure(task, base),
        tuned=_figure(task, tuned),
        rows=told.get("rows", len(task.questions)),
        required=task.required,
        lower_is_better=told.get("lowerIsBetter", task.metric == PERPLEXITY),
    )


def require(scores: Sequence[Score], folder: str) -> None:
    """Raises Failure(EvaluationFailed), with the figures, if one falls short."""
    short = [score.sentence for score in scores if score.falls_short]
    if short:
        raise Failure(
            f"the merged model falls short of evaluation.require: {'; '.join(short)}",
            Reason.EVALUATION_FAILED,
            f"It was not released. Read its answers in {folder}; train longer or on other data under another "
            "name, or change evaluation.require and retry",
        )


def _figure(task: Task, records: Sequence[Record]) -> float:
    if task.metric == LM_EVAL:
        return round(float(records[0]["figure"]), 6)
    if task.metric == PERPLEXITY:
        return round(perplexity([(record["logprob"], record["tokens"]) for record in records]), 6)
    return round(sum(record["right"] is True for record in records) / len(records), 6)
