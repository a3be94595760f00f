"""What a job has come to, for whoever uses its model: read from its status, as any client would."""

import re
from dataclasses import dataclass

from pydantic import ValidationError

from finetune_operator.api.job import FineTuneJob, FineTuneJobSpec
from finetune_operator.core.capacity.architecture import Architecture, Weights
from finetune_operator.core.capacity.base_model import base_architecture, told_architecture
from finetune_operator.core.naming import child_name
from finetune_operator.core.objects import Manifest
from finetune_operator.core.run import run_of


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A FineTuneJob whose model or adapter is to be served, by what its status says."""

    claim: str
    standing: str = ""
    """What the job is doing, for people: the message of its Complete condition."""
    complete: bool = False
    model_path: str | None = None
    """Folder of the merged model in the volume, once the job is Complete."""
    adapter_path: str | None = None
    """Folder of the adapter in the volume, once the job is Trained."""
    spec: FineTuneJobSpec | None = None
    """What the job wants; None where its CRD of today would refuse it."""
    checkpoints: str = ""
    """Folder of the run's checkpoints in the volume, where each holds its adapter; empty where none does."""
    newest_checkpoint: str | None = None
    """The newest of them, while the job trains and tells of one."""
    evaluated: bool = False
    """Whether the model has reached what evaluation.require asks for; not where nothing was asked."""
    rank: int | None = None
    """Of the adapter."""
    unserved_targets: tuple[str, ...] = ()
    """Targets of the adapter that vLLM leaves out when it serves it unmerged."""
    failure: str = ""
    """The message of the job's Failed condition; empty when it has not failed."""
    base: str = ""
    """Address of the model that is tuned."""
    weights: Weights | None = None
    """What comes out, where it is known by name or prepare has read it; None for an adapter only."""


def outcome_of(manifest: Manifest) -> Outcome:
    """Return what a job has come to. One that its CRD of today would refuse has failed.

    A status that is older than the spec, or of another run, says nothing about it.
    """
    try:
        job = FineTuneJob.model_validate(manifest)
    except ValidationError:
        return Outcome(claim="", failure="its spec is not valid; see its own status")
    status = job.status.to_dict() if job.status else {}
    is_current = (
        status.get("run") == run_of(job.spec) and status.get("observedGeneration") == job.metadata.generation
    )
    conditions = {c["type"]: c for c in status.get("conditions", [])} if is_current else {}
    complete, failed = (conditions.get(name, {"status": "False"}) for name in ("Complete", "Failed"))
    return Outcome(
        claim=claim_name(job),
        standing=complete.get("message", "the operator has not seen it yet"),
        complete=complete["status"] == "True",
        model_path=status.get("modelPath") if is_current else None,
        adapter_path=status.get("adapterPath") if is_current else None,
        spec=job.spec,
        checkpoints=_checkpoints(job, status["run"]) if is_current else "",
        newest_checkpoint=_newest_checkpoint(status) if is_current else None,
        evaluated=conditions.get("Evaluated", {}).get("status") == "True",
        rank=job.spec.lora.greatest_rank,
        unserved_targets=job.spec.lora.unserved_targets,
        failure=failed["message"] if failed["status"] == "True" else "",
        base=job.spec.model.uri,
        weights=exported_weights(job.spec, told_architecture(status) if is_current else None),
    )


def _checkpoints(job: FineTuneJob, run: str) -> str:
    """Return where a run has them (contract/README.md); empty where they hold no adapter."""
    folder = f"runs/{job.metadata.namespace}/{job.metadata.name}/{run}/checkpoints"
    return folder if job.spec.training.checkpoint.adapters else ""


def _newest_checkpoint(status: Manifest) -> str | None:
    """Return what the trainer told, which may be anything."""
    told = status.get("progress", {}).get("lastCheckpoint", "")
    return told if re.fullmatch(r"step-[0-9]{1,18}", told) else None


def claim_name(job: FineTuneJob) -> str:
    """Return the name of the claim that holds all that a job makes."""
    return job.spec.storage.claim_name or child_name(job.metadata.name, "storage")


def exported_weights(spec: FineTuneJobSpec, told: Architecture | None = None) -> Weights | None:
    """Return the weights that come out; None where there are none, or nobody knows the base yet.

    told: what prepare read of the base. Its dtype, or the one that the model is published in, is `base`.
    """
    model = base_architecture(spec, told)
    if spec.export.adapter_only or model is None:
        return None
    return Weights(model=model, dtype=model.dtype if spec.export.dtype == "base" else spec.export.dtype)
