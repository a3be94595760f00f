"""Where something is, in one grammar for all of the API; what is not read or written yet, a rule says."""

from typing import Annotated

from pydantic import StringConstraints

from finetune_operator.api.formats import DATA_URI_PATTERN, URI_PATTERN
from finetune_operator.api.rules import Rule

Uri = Annotated[str, StringConstraints(pattern=URI_PATTERN, min_length=1, max_length=1024)]

DataUri = Annotated[str, StringConstraints(pattern=DATA_URI_PATTERN, min_length=1, max_length=1024)]
"""Data may be some files of many, by a glob."""

NOT_READ_YET = Rule(
    rule="!has(self.uri) || !self.uri.startsWith('oci://')",
    problem="a model or a dataset in a registry is not read yet",
    remedy="pull it into the volume, and give its path there",
    field="uri",
)
NOT_SERVED_YET = Rule(
    rule="!has(self.uri) || !self.uri.contains('://')",
    problem="only what is in the volume is served yet",
    remedy="bring it into the volume, and give its path there",
    field="uri",
)
NEITHER_A_FOLDER_NOR_AN_IMAGE = Rule(
    rule="!has(self.uri) || !self.uri.contains('://') || self.uri.startsWith('oci://')",
    problem="only what is in the volume, or an image, is served yet",
    remedy="bring it into the volume, and give its path there, or push it to a registry as an image (oci://)",
    field="uri",
)
NO_PLACE_TO_PUSH_TO = Rule(
    rule="self.uri.contains('://')",
    problem="a path in the volume is no place to push to",
    remedy="use oci://HOST/REPOSITORY:TAG, s3://BUCKET/PREFIX or hf://ORG/NAME, or remove push:"
    " the model stays in the volume",
    field="uri",
)


def only_the_hub_has_revisions(what: str) -> Rule:
    """Return the rule about `revision` beside `uri`: of a model, a dataset, an adapter."""
    return Rule(
        rule="!has(self.revision) || (has(self.uri) && self.uri.startsWith('hf://'))",
        problem=f"only an hf:// {what} has revisions",
        remedy=f"remove it, or name the {what} by hf://ORG/NAME",
        field="revision",
    )
