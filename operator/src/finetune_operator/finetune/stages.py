"""The stages of a run, in their order, and what each is called where."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from finetune_operator.api.job import FineTuneJobSpec


class Stage(StrEnum):
    """A stage of a run; also the component label of its Jobs."""

    PREPARE = "prepare"
    TRAIN = "train"
    MERGE_SHARDS = "merge-shards"
    MERGE = "merge"
    VERIFY = "verify"
    EVALUATE = "evaluate"
    PUSH = "push"


@dataclass(frozen=True, kw_only=True)
class StageTraits:
    """How a stage is run and reported."""

    condition: str | None
    """The condition that is True when the stage is done; None for a part of the next stage."""

    image: Literal["trainer", "converter", "server"]
    command: tuple[str, ...]
    """As contract/README.md has it, without --run and --root."""

    running: str
    """Reason and phase while the stage runs."""

    done: str
    """Message when it is done."""


TRAITS = {
    Stage.PREPARE: StageTraits(
        condition="Prepared",
        image="trainer",
        command=("python", "-m", "finetune_trainer", "prepare"),
        running="Preparing",
        done="The base model and the dataset are in the volume and valid",
    ),
    Stage.TRAIN: StageTraits(
        condition="Trained",
        image="trainer",
        command=("python", "-m", "finetune_trainer", "train"),
        running="Training",
        done="The adapter is trained and saved",
    ),
    Stage.MERGE_SHARDS: StageTraits(
        condition=None,
        image="converter",
        command=("finetune-convert", "merge"),
        running="Merging",
        done="Every shard is merged",
    ),
    Stage.MERGE: StageTraits(
        condition="Converted",
        image="converter",
        command=("finetune-convert", "merge"),
        running="Merging",
        done="The adapter is merged into the base model",
    ),
    Stage.VERIFY: StageTraits(
        condition="Verified",
        image="converter",
        command=("finetune-convert", "verify"),
        running="Verifying",
        done="The merged model gives what the adapter on the base gives",
    ),
    Stage.EVALUATE: StageTraits(
        condition="Evaluated",
        image="server",
        command=("finetune-convert", "evaluate"),
        running="Evaluating",
        done="The merged model reaches what evaluation.require says",
    ),
    Stage.PUSH: StageTraits(
        condition="Pushed",
        image="converter",
        command=("finetune-convert", "push"),
        running="Pushing",
        done="The merged model is where export.push says",
    ),
}


def last_gate(spec: FineTuneJobSpec) -> Stage:
    """Return the stage that releases the model, and signs it where that is asked for."""
    return Stage.EVALUATE if spec.evaluation else Stage.VERIFY


OPTIONAL = (Stage.EVALUATE, Stage.PUSH)
"""Of those that nobody asked for there is nothing to say."""

ON_GPUS = (Stage.TRAIN, Stage.EVALUATE)
"""The stages whose pods ask for GPUs, where the job has any."""


def stages_of(spec: FineTuneJobSpec) -> tuple[Stage, ...]:
    """Return the stages that a job goes through.

    Shards first, then the merge as of a single process: it finds their files there, writes what is missing
    and completes the model. No pod waits for another one that may not have been scheduled.
    """
    export = spec.export
    if export.adapter_only:
        return (Stage.PREPARE, Stage.TRAIN)
    shards = (Stage.MERGE_SHARDS,) if export.shards > 1 else ()
    gate = (Stage.VERIFY,) if export.verify else ()
    evaluation = (Stage.EVALUATE,) if spec.evaluation else ()
    push = (Stage.PUSH,) if export.push else ()
    return (Stage.PREPARE, Stage.TRAIN, *shards, Stage.MERGE, *gate, *evaluation, *push)
