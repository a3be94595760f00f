"""What may be submitted: models, mappings and files, each as the manifest that is sent."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune_operator.api.base import ApiModel
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.job import FineTuneJob
from finetune_operator.api.manifest_yaml import documents
from finetune_operator.api.validation import check_document, load_manifests
from finetune_operator.core.objects import Manifest

Submission = FineTuneJob | ModelDeployment | Mapping[str, Any] | str | os.PathLike[str]
"""An object, a mapping as it stands in YAML, or the path of a file of manifests."""


def manifests_of(submissions: Sequence[Submission]) -> list[Manifest]:
    """Return what is written, without the defaults: those are the API server's to fill in.

    Raises InvalidManifestsError.
    """
    return [manifest for submission in submissions for manifest in _manifests(submission)]


def _manifests(submission: Submission) -> Iterator[Manifest]:
    if isinstance(submission, ApiModel):
        written = submission.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
        yield _to_send({**written, "apiVersion": submission.api_version, "kind": submission.kind})
    elif isinstance(submission, Mapping):
        check_document(submission)
        yield _to_send(submission)
    else:
        file = Path(os.fspath(submission))
        load_manifests([file])
        for _, document in documents(file.read_text(encoding="utf-8")):
            yield _to_send(document)


def _to_send(document: Mapping[str, Any]) -> Manifest:
    """Leave out what is the controller's, as `kubectl apply` would have to."""
    return {key: value for key, value in document.items() if key != "status"}
