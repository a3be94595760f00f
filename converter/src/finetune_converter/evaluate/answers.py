"""What base and merged model answer, kept in the run's folder: a task is asked once of each."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_converter.evaluate.asking import AT_ONCE, Record, ask_all
from finetune_converter.evaluate.server import Server, serve
from finetune_converter.evaluate.task import Task
from finetune_converter.files.atomic import write_text

BASE, TUNED = "base", "tuned"
Answers = Mapping[tuple[str, str], list[Record]]
"""By model and task."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which models are asked, and how they are served."""

    models: Mapping[str, Path]
    """Their folders by BASE and TUNED."""
    arguments: Sequence[str]
    """vLLM's."""
    at_once: bool
    """Whether both servers may run side by side, as on a machine without GPUs."""
    folder: Path
    """Where answers are kept."""


def collect_answers(asked: Asked, tasks: Sequence[Task], advance: Callable[[int, int], None]) -> Answers:
    """Every model's records of every task; a model all of whose answers are there already is not loaded."""
    kept = {(model, task.name): _kept(asked, model, task) for model in asked.models for task in tasks}
    left = {model: [task for task in tasks if kept[model, task.name] is None] for model in asked.models}
    missing = [model for model in asked.models if left[model]]
    total = len(asked.models) * sum(len(task.questions) for task in tasks)
    count = total - sum(len(task.questions) for model in missing for task in left[model])

    def done() -> None:
        nonlocal count
        count += 1
        advance(count, total)

    with ThreadPoolExecutor(AT_ONCE) as pool, ExitStack() as servers:
        started: dict[str, Server] = {
            model: servers.enter_context(serve(asked.models[model], asked.arguments))
            for model in (missing if asked.at_once else ())
        }
        for model in missing:
            running = started.get(model)
            with nullcontext(running) if running else serve(asked.models[model], asked.arguments) as server:
                server.wait()
                for task in left[model]:
                    records = list(ask_all(pool, server, task, done))
                    _keep(asked, model, task, records)
                    kept[model, task.name] = records
    return {key: records or [] for key, records in kept.items()}


def answers_file(folder: Path, model: str, task: str) -> Path:
    """A line of what decided them, then a record a line."""
    return folder / f"{task}.{model}.jsonl"


def _kept(asked: Asked, model: str, task: Task) -> list[Record] | None:
    file = answers_file(asked.folder, model, task.name)
    if not file.is_file():
        return None
    first, *records = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return records if first == _decided_by(asked, task) else None


def _keep(asked: Asked, model: str, task: Task, records: list[Record]) -> None:
    lines = (json.dumps(each, ensure_ascii=False) for each in (_decided_by(asked, task), *records))
    write_text(answers_file(asked.folder, model, task.name), "\n".join(lines) + "\n")


def _decided_by(asked: Asked, task: Task) -> dict[str, Any]:
    arguments = hashlib.sha256(json.dumps(list(asked.arguments)).encode()).hexdigest()
    return {"task": task.digest, "server": arguments}
