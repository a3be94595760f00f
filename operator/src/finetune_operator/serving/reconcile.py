"""The reconcile of a ModelDeployment: pure, so that the operator and the local engine do the same."""

from collections.abc import Iterable
from datetime import datetime

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.children import changed_children
from finetune_operator.core.conditions import Condition, events_of
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.plan import Plan
from finetune_operator.serving.adapters import adapters_condition
from finetune_operator.serving.children.adapters import desired_adapters
from finetune_operator.serving.children.autoscaler import desired_autoscaler
from finetune_operator.serving.children.deployment import desired_deployment
from finetune_operator.serving.children.disruption_budget import desired_disruption_budget
from finetune_operator.serving.children.leader_worker_set import desired_leader_worker_set
from finetune_operator.serving.children.network_policy import desired_network_policy
from finetune_operator.serving.children.service import desired_service
from finetune_operator.serving.conditions import conditions_of
from finetune_operator.serving.fits import fits_of
from finetune_operator.serving.model import NoModel, ServedModel, resolve_model
from finetune_operator.serving.observed import Observed
from finetune_operator.serving.reasons import MESSAGES, ServingReason
from finetune_operator.serving.rollout import next_rollout, with_rollout
from finetune_operator.serving.status import build_status, previous_status
from finetune_operator.serving.step import Serving, step_of


def reconcile(deployment: ModelDeployment, observed: Observed, now: datetime, config: Config) -> Plan:
    """Return what to make and what to say about a deployment.

    While there is no model yet, what serves an older one goes on serving it.
    """
    made_by = deployment.spec.model.fine_tune_job_ref
    maker = observed.jobs.get(made_by.name) if made_by else None
    fits = fits_of(deployment, maker.weights if maker else None, config)
    model = resolve_model(deployment, observed)
    if refusal := _refusal(deployment, fits, config):
        model = refusal
    children = list(_children_of_any_model(deployment))
    rollout = None
    if isinstance(model, ServedModel) and (adapters := desired_adapters(deployment, model)):
        children.append(adapters)
    if isinstance(model, ServedModel) and deployment.spec.nodes > 1:
        children.append(desired_leader_worker_set(deployment, model, config))
    elif isinstance(model, ServedModel):
        server = desired_deployment(deployment, model, config)
        may_roll_back = deployment.spec.rollout.rollback
        rollout = next_rollout(server, model.path, observed.deployment, may_roll_back=may_roll_back)
        children.append(with_rollout(server, rollout))
    seen, replicas = observed.deployment, deployment.spec.replicas
    step = step_of(replicas, model, rollout, seen)
    adapted = adapters_condition(deployment, model, observed) if isinstance(step, Serving) else None
    conditions = [
        fits,
        *([adapted] if adapted else []),
        *conditions_of(step, ready=seen.ready if seen else 0, replicas=replicas, adapters=adapted),
    ]
    return Plan(
        status=build_status(deployment, model, rollout, conditions, observed, now),
        apply=changed_children(children, observed.children),
        delete=tuple(_superfluous(deployment, observed)),
        events=events_of(previous_status(deployment).get("conditions", []), conditions),
    )


def _refusal(deployment: ModelDeployment, fits: Condition, config: Config) -> NoModel | None:
    """Return why no server is made, whatever the model: it does not fit, or the cluster lacks its kind."""
    spec = deployment.spec
    if fits.status == "False" and spec.replicas:
        return NoModel(reason=fits.reason, message=fits.message, final=True)
    if spec.nodes > 1 and not config.has_leader_worker_sets:
        reason = ServingReason.NO_LEADER_WORKER_SETS
        return NoModel(reason=reason, message=MESSAGES[reason].format(nodes=spec.nodes), final=True)
    return None


def _children_of_any_model(deployment: ModelDeployment) -> Iterable[Manifest]:
    yield desired_service(deployment)
    yield desired_disruption_budget(deployment)
    yield desired_network_policy(deployment)
    if autoscaler := desired_autoscaler(deployment):
        yield autoscaler


def _superfluous(deployment: ModelDeployment, observed: Observed) -> Iterable[Ref]:
    """Yield an autoscaler that is not wanted any more, and servers of the other kind."""
    wanted = {
        "HorizontalPodAutoscaler": deployment.spec.autoscaling is not None,
        "Deployment": deployment.spec.nodes == 1,
        "LeaderWorkerSet": deployment.spec.nodes > 1,
    }
    yield from (ref for ref in sorted(observed.children) if not wanted.get(ref.kind, True))
