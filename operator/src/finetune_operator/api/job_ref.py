"""A reference to a FineTuneJob: of its model or of its adapter."""

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import ObjectName
from finetune_operator.api.rules import Rule

ONE_SOURCE = Rule(
    rule="has(self.fineTuneJobRef) != has(self.uri)",
    problem="give either fineTuneJobRef or uri, and only one of them",
    remedy="set fineTuneJobRef.name to a job's name, or uri to a folder in the volume",
)


class FineTuneJobRef(ApiModel):
    """A FineTuneJob in the object's own namespace."""

    name: ObjectName
    """The job's name."""
