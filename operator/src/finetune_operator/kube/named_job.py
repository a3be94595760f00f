"""A FineTuneJob as the ModelDeployment that names it sees it."""

from pydantic import ValidationError

from finetune_operator.api import API_VERSION
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.finetune.outcome import outcome_of
from finetune_operator.serving import ObservedModel


def named_job_ref(deployment: Manifest, name: str) -> Ref:
    """Return the reference to a job that a deployment names: it is in the same namespace."""
    namespace = deployment["metadata"]["namespace"]
    return Ref(api_version=API_VERSION, kind="FineTuneJob", namespace=namespace, name=name)


def observe_named_job(manifest: Manifest) -> ObservedModel:
    """Return what a job has come to. One that its CRD of today would refuse has failed."""
    try:
        job = FineTuneJob.model_validate(manifest)
    except ValidationError:
        return ObservedModel(phase="Failed", claim="", failure="its spec is not valid; see its own status")
    outcome = outcome_of(job)
    return ObservedModel(
        phase=outcome.phase,
        claim=outcome.claim,
        path=outcome.model_path,
        adapter_path=outcome.adapter_path,
        rank=outcome.rank,
        complete=outcome.complete,
        failure=outcome.failure,
        weights=outcome.weights,
    )
