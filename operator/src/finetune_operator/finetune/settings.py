"""What a stage reads of run.json that may change of a job that has started: its settings.

A Job carries theirs as a label, and the ConfigMap of run.json has a name of them all: what has begun goes on
as it began, and what is made after a change reads what was changed.
"""

from collections.abc import Mapping

from finetune_operator.api.job import FineTuneJobSpec
from finetune_operator.core.digest import digest
from finetune_operator.finetune.stages import Stage

_DIGITS = 8

# The field that a stage's settings are.
FIELDS = {
    Stage.TRAIN: "model.verify",
    Stage.MERGE_SHARDS: "export.shards",
    Stage.EVALUATE: "evaluation.require",
    Stage.PUSH: "export.push",
}


def settings_of(spec: FineTuneJobSpec) -> Mapping[str, str]:
    """Return the settings of each stage that has some, by its Jobs' component, as a label takes them."""
    push = spec.export.push
    values = {
        Stage.TRAIN: spec.model.verify,
        Stage.MERGE_SHARDS: spec.export.shards,
        Stage.EVALUATE: spec.evaluation.require if spec.evaluation else None,
        Stage.PUSH: [push.uri, push.format] if push else None,
    }
    return {stage: digest(value)[:_DIGITS] for stage, value in values.items()}


def settings_id(spec: FineTuneJobSpec) -> str:
    """Return one id of the settings of all stages."""
    return digest(settings_of(spec))[:_DIGITS]
