"""Both kinds, as whoever runs them treats them, on a cluster or on one machine."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from finetune_operator.api.base import RULES_OBEYED
from finetune_operator.api.crd import Resource
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.job import FineTuneJob
from finetune_operator.api.resources import FINE_TUNE_JOB, MODEL_DEPLOYMENT
from finetune_operator.core.config import Config
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.delay import DelayOf
from finetune_operator.core.observed.parent import ObservedParent
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.core.plan import Plan
from finetune_operator.core.refusal import is_refused
from finetune_operator.finetune.observed import ObservedProgress, observe_fine_tune_job
from finetune_operator.finetune.reconcile import reconcile as reconcile_fine_tune_job
from finetune_operator.serving.observed import AdaptersOf, EndpointOf, RequestsOf, observe_model_deployment
from finetune_operator.serving.reconcile import reconcile as reconcile_model_deployment


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where to look: the objects, and what no object says."""

    objects: Cache
    progress_of: Callable[[ObservedPod], ObservedProgress | None]
    endpoint_of: EndpointOf
    delay_of: DelayOf
    adapters_of: AdaptersOf
    requests_of: RequestsOf


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of parent. Reconciling one whose spec is not valid raises pydantic's ValidationError."""

    resource: Resource
    reconcile: Callable[[ObservedParent, Surroundings, datetime, Config], Plan]
    paused: Callable[[ObservedParent], ObservedParent]
    """What it is while whoever runs it stops."""


def _reconcile_fine_tune_job(
    parent: ObservedParent, around: Surroundings, now: datetime, config: Config
) -> Plan:
    job = FineTuneJob.model_validate(parent.manifest, context=context_of(parent))
    observed = observe_fine_tune_job(parent, around.objects, around.progress_of, around.delay_of)
    return reconcile_fine_tune_job(job, observed, now, config)


def _reconcile_model_deployment(
    parent: ObservedParent, around: Surroundings, now: datetime, config: Config
) -> Plan:
    deployment = ModelDeployment.model_validate(parent.manifest, context=context_of(parent))
    observed = observe_model_deployment(
        parent,
        around.objects,
        around.endpoint_of,
        around.delay_of,
        around.adapters_of,
        around.requests_of,
    )
    return reconcile_model_deployment(deployment, observed, now, config)


def context_of(parent: ObservedParent) -> dict[str, str] | None:
    """Return what is known of a spec: one that was reconciled obeys its rules, until it changes."""
    is_known = parent.status.get("observedGeneration") == parent.generation
    return RULES_OBEYED if is_known and not is_refused(parent) else None


def _suspended(parent: ObservedParent) -> ObservedParent:
    scheduling = (parent.spec or {}).get("scheduling", {})
    return parent.with_spec(scheduling={**scheduling, "suspend": True})


def _scaled_to_zero(parent: ObservedParent) -> ObservedParent:
    return parent.with_spec(replicas=0)


KINDS = {
    "FineTuneJob": Kind(resource=FINE_TUNE_JOB, reconcile=_reconcile_fine_tune_job, paused=_suspended),
    "ModelDeployment": Kind(
        resource=MODEL_DEPLOYMENT, reconcile=_reconcile_model_deployment, paused=_scaled_to_zero
    ),
}
