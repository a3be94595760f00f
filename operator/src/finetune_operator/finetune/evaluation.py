"""The server that an evaluation asks, and what the stage tells of the answers at its end."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from finetune_operator.api.deployment import ServingSpec
from finetune_operator.api.job import FineTuneJobSpec
from finetune_operator.core.objects import Manifest, without_empty
from finetune_operator.finetune.answers import number, text, whole
from finetune_operator.serving.tool_calls import tool_call_args

_MAX_TASKS = 16


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What base and merged model reached in a task."""

    task: str
    metric: str
    base: float
    tuned: float
    rows: int
    required: str | None = None
    """What it had to reach, and did."""

    @property
    def sentence(self) -> str:
        """For people: how the two compare."""
        required = f", required {self.required}" if self.required else ""
        return f"{self.task}: {self.metric} {self.tuned:.4g}, the base's {self.base:.4g}{required}"

    def to_status(self) -> Manifest:
        """Return it as the status has it."""
        return without_empty(
            {
                "task": self.task,
                "metric": self.metric,
                "base": self.base,
                "tuned": self.tuned,
                "rows": self.rows,
                "required": self.required,
            }
        )


def evaluation_server(spec: FineTuneJobSpec) -> ServingSpec:
    """Return how vLLM runs for an evaluation: as the job's own deployment, or else over a pod's GPUs."""
    asked = spec.evaluation
    gpus, length = (asked.gpus, asked.max_model_len) if asked else (None, None)
    given = spec.deployment.to_dict() if spec.deployment else {}
    if not given or gpus or given["device"] != spec.workers.device:
        given = {key: value for key, value in given.items() if key in _KEPT}
        workers = spec.workers
        given |= {
            "device": workers.device,
            "tensorParallelSize": gpus or workers.gpus or 1,
            "gpuResourceName": workers.gpu_resource_name,
            "gpuMemory": workers.gpu_memory,
        }
    alone = {key: value for key, value in given.items() if key not in _OF_A_DEPLOYMENT}
    return ServingSpec.model_validate({**alone, **({"maxModelLen": length} if length else {})})


# What goes for a server on other GPUs as well.
_KEPT = ("maxModelLen", "expertParallel", "engineArgs", "trustRemoteCode")
# What says nothing of how an answer comes about.
_OF_A_DEPLOYMENT = (
    "replicas",
    "autoscaling",
    "adapters",
    "cache",
    "rollout",
    "podOverrides",
    "apiKeySecretRef",
)


def cannot_be_asked(spec: FineTuneJobSpec) -> str:
    """Return why a task cannot be asked, and what to do; empty where every task can.

    Without a parser vLLM leaves calls in the text, and every answer were wrong.
    """
    tasks = spec.evaluation.tasks if spec.evaluation else []
    calling = next((task.name for task in tasks if task.metric == "tool_call"), None)
    if calling is None:
        return ""
    own = evaluation_server(spec).engine_args
    if tool_call_args(spec.model.uri, own) or any("tool-call-parser" in a.replace("_", "-") for a in own):
        return ""
    return (
        f"evaluation.tasks {calling}: which of vLLM's parsers finds tool calls of {spec.model.uri} is not "
        "known. Set deployment.engineArgs: [--enable-auto-tool-choice, --tool-call-parser=NAME]"
    )


def read_evaluation(result: str) -> tuple[Scored, ...] | None:
    """Return what the stage told in its termination message; None if it tells nothing, or junk."""
    try:
        line = json.loads(result)
    except (ValueError, RecursionError):
        return None
    return scored_of(line.get("evaluation") if isinstance(line, dict) else None)


def scored_of(said: Any) -> tuple[Scored, ...] | None:
    """Return the tasks of a list of JSON; None for one that tells none."""
    return tuple(_tasks(said)) or None


def _tasks(said: Any) -> Iterator[Scored]:
    for each in said[:_MAX_TASKS] if isinstance(said, list) else ():
        if not isinstance(each, dict):
            continue
        task, metric, rows = text(each.get("task")), text(each.get("metric")), whole(each.get("rows"))
        base, tuned = number(each.get("base")), number(each.get("tuned"))
        if task and metric and rows is not None and base is not None and tuned is not None:
            yield Scored(
                task=task,
                metric=metric,
                base=base,
                tuned=tuned,
                rows=rows,
                required=text(each.get("required")),
            )
