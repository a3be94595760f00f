"""A task of the run file, and its questions as prepare wrote them (contract/README.md)."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_converter.failure import Failure, Reason

PERPLEXITY = "perplexity"
TOOL_CALL = "tool_call"
LM_EVAL = "lm_eval"
Question = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is asked, and what of the merged model is required."""

    name: str
    metric: str
    max_tokens: int
    required: str | None
    questions: tuple[Question, ...]
    """Of LM_EVAL one, which names the task, its data and its settings."""
    root: Path
    """Of the volume, below which a task of lm-eval has its data."""
    digest: str
    """sha256 of all that decides an answer and its score, but for the model and its server."""


def load_tasks(evaluation: dict[str, Any], folder: Path, root: Path) -> tuple[Task, ...]:
    """The tasks of a run whose questions are in `folder`. Raises Failure(EvaluationInvalid)."""
    required = evaluation["require"]
    return tuple(_task(each, required.get(each["name"]), folder, root) for each in evaluation["tasks"])


def _task(said: dict[str, Any], required: str | None, folder: Path, root: Path) -> Task:
    file = folder / f"{said['name']}.jsonl"
    if not file.is_file():
        raise Failure(
            f"{file}: no such file: prepare has not read evaluation.tasks {said['name']}",
            Reason.EVALUATION_INVALID,
            "Run the prepare stage, or apply the FineTuneJob under a new name",
        )
    content = file.read_bytes()
    # Of the other tasks prepare has written as many questions as are asked.
    harness = {**_settings(said["lmEval"]), "limit": said["limit"]} if said.get("lmEval") else {}
    questions = tuple(json.loads(line) | harness for line in content.splitlines())
    settings = json.dumps([said["metric"], said["maxTokens"], *([harness] if harness else [])]).encode()
    return Task(
        name=said["name"],
        metric=said["metric"],
        max_tokens=said["maxTokens"],
        required=required,
        questions=questions,
        root=root,
        digest=hashlib.sha256(settings + content).hexdigest(),
    )


def _settings(lm_eval: dict[str, Any]) -> dict[str, Any]:
    """All but the name: prepare has looked whose task it is."""
    return {key: value for key, value in lm_eval.items() if key != "task"}
