"""Which model is served: a folder in a volume, an image, or the reason why there is none yet."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.lora import unserved_message
from finetune_operator.api.served_model import AdapterSpec
from finetune_operator.core.capacity.weights import checkpoint_bytes
from finetune_operator.core.outcome import Outcome
from finetune_operator.core.pod import VOLUME_ROOT
from finetune_operator.serving.observed import Observed
from finetune_operator.serving.reasons import MESSAGES, ServingReason

_IMAGE = "oci://"
_ADAPTER = "adapter"
"""A checkpoint's folder with its adapter (contract/README.md)."""


@dataclass(frozen=True, kw_only=True)
class ServedAdapter:
    """An adapter that can be served beside a model."""

    name: str
    path: str
    rank: int | None = None
    """None where it is a folder that nobody has looked into."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that can be served."""

    path: str
    """Of its folder in the volume; of an image its address."""
    claim: str
    image: str = ""
    """The image that takes the volume's place."""
    size_bytes: int | None = None
    """Of what is read before it can serve; None for a folder that nobody has looked into."""
    base: str = ""
    """Address of what it is tuned from; empty where nobody knows it."""
    adapters: tuple[ServedAdapter, ...] = ()
    lora_rank: int | None = None
    """Highest rank of an adapter that is known; None where servers take no adapters."""
    awaited: tuple[tuple[str, "NoModel"], ...] = ()
    """Adapters that cannot be served, by their names, and why."""

    @property
    def folder(self) -> str:
        """Its folder in a pod."""
        return VOLUME_ROOT if self.image else f"{VOLUME_ROOT}/{self.path}"


@dataclass(frozen=True, kw_only=True)
class NoModel:
    """Why there is none."""

    reason: str
    message: str
    final: bool = False
    """Whether waiting alone cannot help."""


def resolve_model(deployment: ModelDeployment, observed: Observed) -> ServedModel | NoModel:
    """Return the model that the spec names, with its adapters.

    A first start waits for all of them; a server that is there goes on without those that are not.
    """
    model = _resolve_base(deployment, observed.jobs)
    if isinstance(model, NoModel):
        return model
    specs = deployment.spec.adapters
    found = [(spec.name, _resolve_adapter(spec, observed, model.claim)) for spec in specs]
    awaited = tuple((name, adapter) for name, adapter in found if isinstance(adapter, NoModel))
    if awaited and observed.deployment is None:
        return awaited[0][1]
    return replace(
        model,
        adapters=tuple(adapter for _, adapter in found if isinstance(adapter, ServedAdapter)),
        lora_rank=_lora_rank(deployment, observed.jobs),
        awaited=awaited,
    )


def _lora_rank(deployment: ModelDeployment, jobs: Mapping[str, Outcome]) -> int | None:
    """Return the highest rank, of adapters that are not trained yet too: servers need no restart then."""
    spec = deployment.spec
    if not spec.adapters and spec.max_lora_rank is None:
        return None
    named = (jobs.get(each.fine_tune_job_ref.name) for each in spec.adapters if each.fine_tune_job_ref)
    return max(spec.max_lora_rank or 0, *(job.rank or 0 for job in named if job), 0)


def _resolve_adapter(spec: AdapterSpec, observed: Observed, claim: str) -> ServedAdapter | NoModel:
    if spec.fine_tune_job_ref is None:
        assert spec.uri is not None  # the API's rules
        return ServedAdapter(name=spec.name, path=spec.uri)
    name = spec.fine_tune_job_ref.name
    job = observed.jobs.get(name)
    if job is None:
        return NoModel(
            reason=ServingReason.JOB_NOT_FOUND, message=MESSAGES[ServingReason.JOB_NOT_FOUND].format(job=name)
        )
    if job.claim != claim:
        message = MESSAGES[ServingReason.ADAPTER_ELSEWHERE].format(job=name, theirs=job.claim, ours=claim)
        return NoModel(reason=ServingReason.ADAPTER_ELSEWHERE, message=message, final=True)
    if job.unserved_targets:
        message = MESSAGES[ServingReason.ADAPTER_NOT_SERVED].format(
            job=name, message=unserved_message(job.unserved_targets)
        )
        return NoModel(reason=ServingReason.ADAPTER_NOT_SERVED, message=message, final=True)
    if job.adapter_path is not None:
        return ServedAdapter(name=spec.name, path=job.adapter_path, rank=job.rank)
    if job.failure:
        message = MESSAGES[ServingReason.JOB_FAILED].format(job=name, message=job.failure)
        return NoModel(reason=ServingReason.JOB_FAILED, message=message, final=True)
    if spec.checkpoint:
        return _resolve_checkpoint(spec.name, name, job, observed)
    message = MESSAGES[ServingReason.ADAPTER_NOT_TRAINED].format(job=name, standing=job.standing)
    return NoModel(reason=ServingReason.ADAPTER_NOT_TRAINED, message=message)


def _resolve_checkpoint(
    name: str, job_name: str, job: Outcome, observed: Observed
) -> ServedAdapter | NoModel:
    """Return the adapter of the newest checkpoint; where nobody tells which that is, what servers have."""
    if not job.checkpoints:
        reason = ServingReason.CHECKPOINTS_BARE
        return NoModel(reason=reason, message=MESSAGES[reason].format(job=job_name), final=True)
    told = [server.paths.get(name, "") for server in observed.adapters.values()]
    served = max((path for path in told if path.startswith(f"{job.checkpoints}/")), key=_step, default=None)
    newest = job.newest_checkpoint
    path = f"{job.checkpoints}/{newest}/{_ADAPTER}" if newest else served
    if path is None:
        reason = ServingReason.NO_CHECKPOINT
        message = MESSAGES[reason].format(job=job_name, standing=job.standing)
        return NoModel(reason=reason, message=message)
    return ServedAdapter(name=name, path=path, rank=job.rank)


def checkpoint_of(path: str) -> str | None:
    """Return the name of the checkpoint whose adapter a folder is; None for any other folder."""
    found = re.fullmatch(rf"runs/.*/checkpoints/(step-[0-9]+)/{_ADAPTER}", path)
    return found[1] if found else None


def _step(path: str) -> int:
    return int((checkpoint_of(path) or "step-0").removeprefix("step-"))


def _resolve_base(deployment: ModelDeployment, jobs: Mapping[str, Outcome]) -> ServedModel | NoModel:
    model, storage = deployment.spec.model, deployment.spec.storage
    if model.fine_tune_job_ref is None:
        assert model.uri is not None  # the API's rules
        if model.uri.startswith(_IMAGE):
            return ServedModel(path=model.uri, claim="", image=model.uri.removeprefix(_IMAGE))
        assert storage is not None
        assert storage.claim_name is not None
        return ServedModel(path=model.uri, claim=storage.claim_name)
    name = model.fine_tune_job_ref.name
    job = jobs.get(name)
    if job is None:
        return NoModel(
            reason=ServingReason.JOB_NOT_FOUND, message=MESSAGES[ServingReason.JOB_NOT_FOUND].format(job=name)
        )
    if job.failure and job.model_path is None:
        message = MESSAGES[ServingReason.JOB_FAILED].format(job=name, message=job.failure)
        return NoModel(reason=ServingReason.JOB_FAILED, message=message, final=True)
    if not job.complete and job.model_path is None:
        message = MESSAGES[ServingReason.JOB_NOT_COMPLETE].format(job=name, standing=job.standing)
        return NoModel(reason=ServingReason.JOB_NOT_COMPLETE, message=message)
    if job.model_path is None:
        message = MESSAGES[ServingReason.JOB_HAS_NO_MODEL].format(job=name)
        return NoModel(reason=ServingReason.JOB_HAS_NO_MODEL, message=message, final=True)
    size = checkpoint_bytes(job.weights.model, job.weights.dtype) if job.weights else None
    return ServedModel(path=job.model_path, claim=job.claim, size_bytes=size, base=job.base)
