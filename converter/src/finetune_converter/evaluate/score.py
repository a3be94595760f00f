"""Figures: what base and merged model reached in a task, and whether that is what is required."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune_converter.evaluate.answers import BASE, TUNED, Answers
from finetune_converter.evaluate.asking import Record
from finetune_converter.evaluate.requirement import is_met
from finetune_converter.evaluate.scoring import perplexity
from finetune_converter.evaluate.task import PERPLEXITY, Task
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

    @property
    def falls_short(self) -> bool:
        return self.required is not None and not is_met(
            self.required, base=self.base, tuned=self.tuned, lower_is_better=self.metric == PERPLEXITY
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
    return tuple(
        Score(
            task=task.name,
            metric=task.metric,
            base=_figure(task, answers[BASE, task.name]),
            tuned=_figure(task, answers[TUNED, task.name]),
            rows=len(task.questions),
            required=task.required,
        )
        for task in tasks
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
    if task.metric == PERPLEXITY:
        return round(perplexity([(record["logprob"], record["tokens"]) for record in records]), 6)
    return round(sum(record["right"] is True for record in records) / len(records), 6)
