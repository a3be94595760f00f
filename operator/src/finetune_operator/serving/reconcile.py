"""The reconcile of a ModelDeployment: pure, so that the operator and the local engine do the same."""

from collections.abc import Iterable
from datetime import datetime

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.children import changed_children
from finetune_operator.core.conditions import events_of
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.core.plan import Plan
from finetune_operator.serving.children.deployment import desired_deployment
from finetune_operator.serving.children.disruption_budget import desired_disruption_budget
from finetune_operator.serving.children.service import desired_service
from finetune_operator.serving.conditions import conditions_of
from finetune_operator.serving.model import NoModel, ServedModel, resolve_model
from finetune_operator.serving.observed import Observed
from finetune_operator.serving.status import build_status, previous_status


def reconcile(deployment: ModelDeployment, observed: Observed, now: datetime, config: Config) -> Plan:
    """Return what to make and what to say about a deployment.

    While there is no model yet, what serves an older one goes on serving it.
    """
    model = resolve_model(deployment, observed.model)
    conditions = conditions_of(deployment, model, observed)
    return Plan(
        status=build_status(deployment, model, conditions, observed, now),
        apply=changed_children(_desired_children(deployment, model, config), observed.children),
        events=events_of(previous_status(deployment).get("conditions", []), conditions),
    )


def _desired_children(
    deployment: ModelDeployment, model: ServedModel | NoModel, config: Config
) -> Iterable[Manifest]:
    yield desired_service(deployment)
    yield desired_disruption_budget(deployment)
    if isinstance(model, ServedModel):
        yield desired_deployment(deployment, model, config)
