"""The adapter of another job that a run starts from: where it is, or why there is none to start from.

Prepare compares the adapter's own files with the run, tensor by tensor; here the two specs are compared, so
that what cannot fit does not wait for a training to end.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from finetune_operator.api.job import FineTuneJob, FineTuneJobSpec
from finetune_operator.core.lora_targets import is_known, named_modules
from finetune_operator.core.outcome import Outcome, claim_name
from finetune_operator.finetune.reasons import MESSAGES, JobReason
from finetune_operator.finetune.stages import Stage
from finetune_operator.finetune.step import Awaiting, Failed

# A base has one or the other, so that naming both is naming the one that it has.
_OF_SOME_BASES = frozenset({"q_proj", "q_a_proj", "q_b_proj"})
_ITSELF = "it is this job itself, and starts from nothing"


def starting_point(job: FineTuneJob, named: Mapping[str, Outcome]) -> str | Awaiting | Failed | None:
    """Return the adapter's folder in the volume; None where lora.from names no job."""
    ref = job.spec.lora.from_.fine_tune_job_ref if job.spec.lora.from_ else None
    if ref is None:
        return None
    if ref.name == job.metadata.name:
        return _failed(JobReason.JOB_FAILED, job=ref.name, message=_ITSELF)
    other = named.get(ref.name)
    if other is None:
        return _awaiting(JobReason.JOB_NOT_FOUND, job=ref.name)
    if other.spec is not None:
        if other.claim != claim_name(job):
            return _failed(
                JobReason.ADAPTER_ELSEWHERE, job=ref.name, theirs=other.claim, ours=claim_name(job)
            )
        for difference in _differences(job.spec, other.spec):
            return _failed(JobReason.ADAPTER_MISMATCH, job=ref.name, **difference)
    if other.adapter_path is not None:
        return other.adapter_path
    if other.failure:
        return _failed(JobReason.JOB_FAILED, job=ref.name, message=other.failure)
    return _awaiting(JobReason.ADAPTER_NOT_TRAINED, job=ref.name, standing=other.standing)


def _differences(own: FineTuneJobSpec, theirs: FineTuneJobSpec) -> Iterator[dict[str, str]]:
    """Yield the fields by which an adapter is none of this run's, the first of which is told."""
    on_its_base = "train on the adapter's own base"
    bases = {
        "model.uri": (own.model.uri.rstrip("/"), theirs.model.uri.rstrip("/")),
        "model.revision": (own.model.revision or "main", theirs.model.revision or "main"),
        "model.layers": (own.model.layers, theirs.model.layers),
    }
    adapters = {
        f"lora.{field}": (getattr(own.lora, name), getattr(theirs.lora, name))
        for field, name in _OF_THE_ADAPTER.items()
    }
    for field, (mine, other) in {**bases, **adapters}.items():
        if mine != other:
            remedy = on_its_base if field in bases else f"set {field} to that: the adapter goes on as it is"
            yield {"field": field, "own": _written(mine), "theirs": _written(other), "remedy": remedy}
    if _are_others(own.lora.targets, theirs.lora.targets):
        yield {
            "field": "lora.targets",
            "own": _written(own.lora.targets),
            "theirs": _written(theirs.lora.targets),
            "remedy": "name the targets that it has",
        }


_OF_THE_ADAPTER = {
    "rank": "rank",
    "alpha": "alpha",
    "useRslora": "use_rslora",
    "dora": "dora",
    "rankPattern": "rank_pattern",
    "alphaPattern": "alpha_pattern",
}


def _are_others(own: list[str], theirs: list[str]) -> bool:
    """Return whether targets are others on every base. Names that no base has are left to prepare."""
    if not all(map(is_known, (*own, *theirs))):
        return False
    return any(name not in _OF_SOME_BASES for _, name in named_modules(own) ^ named_modules(theirs))


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _awaiting(reason: JobReason, **facts: str) -> Awaiting:
    return Awaiting(stage=Stage.PREPARE, reason=reason, message=MESSAGES[reason].format(**facts))


def _failed(reason: JobReason, **facts: str) -> Failed:
    return Failed(stage=Stage.PREPARE, reason=reason, message=MESSAGES[reason].format(**facts), since=None)
