"""A task of the run file, and its questions as prepare wrote them (contract/README.md)."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason

PERPLEXITY = "perplexity"
TOOL_CALL = "tool_call"
Question = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is asked, and what of the merged model is required."""

    name: str
    metric: str
    max_tokens: int
    required: str | None
    questions: tuple[Question, ...]
    digest: str
    """sha256 of all that decides an answer and its score, but for the model and its server."""


def load_tasks(evaluation: dict[str, Any], folder: Path) -> tuple[Task, ...]:
    """The tasks of a run whose questions are in `folder`. Raises Failure(EvaluationInvalid)."""
    return tuple(_task(each, evaluation["require"].get(each["name"]), folder) for each in evaluation["tasks"])


def _task(said: dict[str, Any], required: str | None, folder: Path) -> Task:
    file = folder / f"{said['name']}.jsonl"
    if not file.is_file():
        raise Failure(
            f"{file}: no such file: prepare has not read evaluation.tasks {said['name']}",
            Reason.EVALUATION_INVALID,
            "Run the prepare stage, or apply the FineTuneJob under a new name",
        )
    content = file.read_bytes()
    settings = json.dumps([said["metric"], said["maxTokens"]]).encode()
    return Task(
        name=said["name"],
        metric=said["metric"],
        max_tokens=said["maxTokens"],
        required=required,
        questions=tuple(json.loads(line) for line in content.splitlines()),
        digest=hashlib.sha256(settings + content).hexdigest(),
    )
