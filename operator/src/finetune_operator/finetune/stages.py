"""The stages of a run, in their order, and what each is called where."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from finetune_operator.api.job import FineTuneJobSpec


class Stage(StrEnum):
    """A stage of a run; also the component label of its Jobs."""

    PREPARE = "prepare"
    TRAIN = "train"
    MERGE = "merge"
    VERIFY = "verify"


@dataclass(frozen=True, kw_only=True)
class StageTraits:
    """How a stage is run and reported."""

    condition: str
    """The condition that is True when the stage is done."""

    image: Literal["trainer", "converter"]
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
}


def stages_of(spec: FineTuneJobSpec) -> tuple[Stage, ...]:
    """Return the stages that a job goes through: fewer for an adapter only, or without the gate."""
    if spec.export.adapter_only:
        return (Stage.PREPARE, Stage.TRAIN)
    if not spec.export.verify:
        return (Stage.PREPARE, Stage.TRAIN, Stage.MERGE)
    return tuple(Stage)
