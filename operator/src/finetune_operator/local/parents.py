"""Both kinds, as the engine treats them: how each is reconciled, and what it is while the engine stops."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.core.plan import Plan
from finetune_operator.finetune.reconcile import reconcile as reconcile_job
from finetune_operator.local.observe import Surroundings, observe_fine_tune_job, observe_model_deployment
from finetune_operator.serving.reconcile import reconcile as reconcile_deployment


@dataclass(frozen=True, kw_only=True)
class ParentKind:
    """What the engine does with a parent of one kind."""

    reconcile: Callable[[Manifest, Surroundings, datetime, Config], Plan]
    paused: Callable[[Manifest], Manifest]


def _reconcile_fine_tune_job(
    parent: Manifest, surroundings: Surroundings, now: datetime, config: Config
) -> Plan:
    observed = observe_fine_tune_job(surroundings, parent)
    return reconcile_job(FineTuneJob.model_validate(parent), observed, now, config)


def _reconcile_model_deployment(
    parent: Manifest, surroundings: Surroundings, now: datetime, config: Config
) -> Plan:
    observed = observe_model_deployment(surroundings, parent)
    return reconcile_deployment(ModelDeployment.model_validate(parent), observed, now, config)


def _suspended(parent: Manifest) -> Manifest:
    spec = parent["spec"]
    return {**parent, "spec": {**spec, "scheduling": {**spec.get("scheduling", {}), "suspend": True}}}


def _scaled_to_zero(parent: Manifest) -> Manifest:
    return {**parent, "spec": {**parent["spec"], "replicas": 0}}


PARENTS = {
    "FineTuneJob": ParentKind(reconcile=_reconcile_fine_tune_job, paused=_suspended),
    "ModelDeployment": ParentKind(reconcile=_reconcile_model_deployment, paused=_scaled_to_zero),
}
