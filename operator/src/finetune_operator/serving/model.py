"""Which model is served: a folder in a volume, or the reason why there is none yet."""

from dataclasses import dataclass

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.naming import child_name
from finetune_operator.serving.observed import ObservedModel
from finetune_operator.serving.reasons import MESSAGES, Reason


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that can be served."""

    path: str
    claim: str
    size_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class NoModel:
    """Why there is none."""

    reason: Reason
    message: str
    final: bool = False
    """Whether waiting alone cannot help."""


def resolve_model(deployment: ModelDeployment, job: ObservedModel | None) -> ServedModel | NoModel:
    """Return the model that the spec names."""
    model, storage = deployment.spec.model, deployment.spec.storage
    if model.fine_tune_job is None:
        assert model.uri is not None  # the API's rules
        assert storage is not None
        return ServedModel(
            path=model.uri, claim=storage.claim_name or child_name(deployment.metadata.name, "storage")
        )
    name = model.fine_tune_job
    if job is None:
        return NoModel(reason=Reason.JOB_NOT_FOUND, message=MESSAGES[Reason.JOB_NOT_FOUND].format(job=name))
    if job.failure:
        message = MESSAGES[Reason.JOB_FAILED].format(job=name, message=job.failure)
        return NoModel(reason=Reason.JOB_FAILED, message=message, final=True)
    if not job.complete:
        message = MESSAGES[Reason.JOB_NOT_COMPLETE].format(job=name, phase=job.phase)
        return NoModel(reason=Reason.JOB_NOT_COMPLETE, message=message)
    if job.path is None:
        message = MESSAGES[Reason.JOB_HAS_NO_MODEL].format(job=name)
        return NoModel(reason=Reason.JOB_HAS_NO_MODEL, message=message, final=True)
    return ServedModel(path=job.path, claim=job.claim, size_bytes=job.size_bytes)
