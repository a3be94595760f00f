"""Both kinds, as the controller treats them."""

from collections.abc import Callable
from datetime import datetime

from finetune_operator.api.base import RULES_OBEYED
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.core.plan import Plan
from finetune_operator.finetune.reconcile import reconcile as reconcile_job
from finetune_operator.kube.cache import Cache
from finetune_operator.kube.observe import observe_fine_tune_job, observe_model_deployment
from finetune_operator.kube.progress import ProgressPoller
from finetune_operator.kube.refusals import is_refused
from finetune_operator.serving.reconcile import reconcile as reconcile_deployment

Reconcile = Callable[[Manifest, Cache, ProgressPoller, datetime, Config], Plan]


def _reconcile_fine_tune_job(
    parent: Manifest, cache: Cache, poller: ProgressPoller, now: datetime, config: Config
) -> Plan:
    observed = observe_fine_tune_job(cache, parent, poller.progress_of(parent))
    return reconcile_job(
        FineTuneJob.model_validate(parent, context=context_of(parent)), observed, now, config
    )


def _reconcile_model_deployment(
    parent: Manifest, cache: Cache, _poller: ProgressPoller, now: datetime, config: Config
) -> Plan:
    observed = observe_model_deployment(cache, parent)
    return reconcile_deployment(
        ModelDeployment.model_validate(parent, context=context_of(parent)), observed, now, config
    )


def context_of(parent: Manifest) -> dict[str, str] | None:
    """Return what is known of a spec: one that was reconciled obeys its rules, until it changes."""
    status = parent.get("status", {})
    is_known = status.get("observedGeneration") == parent["metadata"]["generation"]
    return RULES_OBEYED if is_known and not is_refused(status) else None


RECONCILE: dict[str, Reconcile] = {
    "FineTuneJob": _reconcile_fine_tune_job,
    "ModelDeployment": _reconcile_model_deployment,
}
