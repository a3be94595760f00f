"""What a job has come to, for whoever uses its model: read from its status, as any client would."""

from dataclasses import dataclass

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.capacity.architecture import Weights
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.fits import exported_weights
from finetune_operator.finetune.run import run_file
from finetune_operator.finetune.status import previous_status


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a job, or that it is not there yet."""

    phase: str
    claim: str
    complete: bool
    model_path: str | None
    adapter_path: str | None
    rank: int
    """Of the adapter."""
    failure: str
    weights: Weights | None
    """What comes out, known from the start; None for an adapter only."""


def outcome_of(job: FineTuneJob) -> Outcome:
    """Return the outcome. A status that is older than the spec, or of another run, says nothing about it."""
    status = previous_status(job)
    run = run_file(job)["run"]
    current = status.get("run") == run and status.get("observedGeneration") == job.metadata.generation
    conditions = {c["type"]: c for c in status.get("conditions", [])} if current else {}
    complete, failed = (conditions.get(name, {"status": "False"}) for name in ("Complete", "Failed"))
    return Outcome(
        phase=status["phase"] if current else "Pending",
        claim=names_of(job, run).claim,
        complete=complete["status"] == "True",
        model_path=status.get("modelPath") if current else None,
        adapter_path=status.get("adapterPath") if current else None,
        rank=job.spec.lora.rank,
        failure=failed["message"] if failed["status"] == "True" else "",
        weights=exported_weights(job.spec),
    )
