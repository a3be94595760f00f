"""The reconcile of a ModelDeployment: pure, so that the operator and the local engine do the same."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.children import changed_children
from finetune_operator.core.conditions import Condition, events_of, timestamp
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.http_route import HTTP_ROUTE
from finetune_operator.core.plan import Plan
from finetune_operator.serving.adapters import adapters_condition
from finetune_operator.serving.canary import (
    ALL,
    Canary,
    canary_of,
    canary_status,
    next_trial,
    seconds_left,
    trying_of,
)
from finetune_operator.serving.children.adapters import desired_adapters
from finetune_operator.serving.children.autoscaler import (
    AUTOSCALERS,
    SCALED_OBJECT,
    autoscaler_kind,
    desired_autoscaler,
)
from finetune_operator.serving.children.canary import desired_canary
from finetune_operator.serving.children.deployment import desired_deployment
from finetune_operator.serving.children.disruption_budget import desired_disruption_budget
from finetune_operator.serving.children.http_route import desired_http_route
from finetune_operator.serving.children.leader_worker_set import desired_leader_worker_set
from finetune_operator.serving.children.names import CANARY, server_name
from finetune_operator.serving.children.network_policy import desired_network_policy
from finetune_operator.serving.children.service import desired_service
from finetune_operator.serving.conditions import conditions_of
from finetune_operator.serving.fits import fits_of
from finetune_operator.serving.model import NoModel, ServedModel, resolve_model
from finetune_operator.serving.observed import Observed
from finetune_operator.serving.reasons import MESSAGES, ServingReason
from finetune_operator.serving.rollout import Rollout, next_rollout, with_rollout
from finetune_operator.serving.status import build_status, previous_status
from finetune_operator.serving.step import Serving, step_of
from finetune_operator.serving.trial import Trial


def reconcile(deployment: ModelDeployment, observed: Observed, now: datetime, config: Config) -> Plan:
    """Return what to make and what to say about a deployment.

    While there is no model yet, what serves an older one goes on serving it.
    """
    made_by = deployment.spec.model.fine_tune_job_ref
    maker = observed.jobs.get(made_by.name) if made_by else None
    fits = fits_of(deployment, maker.weights if maker else None, config)
    model = resolve_model(deployment, observed)
    if refusal := _refusal(deployment, fits, config) or _unevaluated(deployment, observed):
        model = refusal
    children = list(_children_of_any_model(deployment, observed, config))
    rollout, canary = None, None
    if isinstance(model, ServedModel) and (adapters := desired_adapters(deployment, model)):
        children.append(adapters)
    if isinstance(model, ServedModel) and deployment.spec.nodes > 1:
        children.append(desired_leader_worker_set(deployment, model, config))
    elif isinstance(model, ServedModel):
        server = desired_deployment(deployment, model, config)
        rollout = _rollout_of(deployment, server, model, observed, now)
        canary = canary_of(rollout, deployment, observed)
        children += _children_of_canary(deployment, server, canary)
        children.append(with_rollout(server, rollout))
    seen, replicas = observed.deployment, deployment.spec.replicas
    step = step_of(replicas, model, rollout, seen, trying_of(canary, now))
    adapted = adapters_condition(deployment, model, observed) if isinstance(step, Serving) else None
    conditions = [
        fits,
        *([adapted] if adapted else []),
        *conditions_of(step, ready=_answering(seen, canary), replicas=replicas, adapters=adapted),
    ]
    told = canary_status(canary, now)
    return Plan(
        status=build_status(deployment, model, rollout, conditions, observed, told, now),
        apply=changed_children(children, observed.children),
        delete=tuple(_superfluous(deployment, model, observed, children)),
        events=events_of(previous_status(deployment).get("conditions", []), conditions),
        requeue_after=seconds_left(canary, now),
    )


def _rollout_of(
    deployment: ModelDeployment, server: Manifest, model: ServedModel, observed: Observed, now: datetime
) -> Rollout:
    spec, there = deployment.spec.rollout, observed.canary
    trial = Trial(since=timestamp(now), overdue_before=there.overdue_since if there else None)
    rollout = next_rollout(
        server,
        model.path,
        observed.deployment,
        may_roll_back=spec.rollback,
        trial=trial if spec.canary else None,
    )
    return next_trial(rollout, deployment, observed, now)


def _children_of_canary(
    deployment: ModelDeployment, server: Manifest, canary: Canary | None
) -> Iterable[Manifest]:
    spec = deployment.spec.rollout.canary
    if spec is None:
        return
    weight = canary.weight if canary else 0
    yield desired_http_route(deployment, spec, weight)
    if canary and (weight or not canary.rollout.rolled_back):
        yield from desired_canary(deployment, spec, server, canary.rollout)


def _answering(seen: ObservedDeployment | None, canary: Canary | None) -> int:
    """Return the replicas that answer: the canary's, while all requests are theirs."""
    if canary and canary.seen and canary.weight == ALL:
        return canary.seen.ready
    return seen.ready if seen else 0


def _unevaluated(deployment: ModelDeployment, observed: Observed) -> NoModel | None:
    """Return why a new version is not even tried: it has to have an evaluation, and has none."""
    canary, named = deployment.spec.rollout.canary, deployment.spec.model.fine_tune_job_ref
    job = observed.jobs.get(named.name) if named else None
    if canary is None or named is None or job is None or not canary.analysis.require_evaluation:
        return None
    if not job.complete or job.evaluated or observed.deployment is None:
        return None
    reason = ServingReason.NOT_EVALUATED
    return NoModel(reason=reason, message=MESSAGES[reason].format(job=named.name), final=True)


def _refusal(deployment: ModelDeployment, fits: Condition, config: Config) -> NoModel | None:
    """Return why no server is made, whatever the model: it does not fit, or the cluster lacks its kind."""
    spec = deployment.spec
    if fits.status == "False" and spec.replicas:
        return NoModel(reason=fits.reason, message=fits.message, final=True)
    if spec.nodes > 1 and not config.has_leader_worker_sets:
        reason = ServingReason.NO_LEADER_WORKER_SETS
        return NoModel(reason=reason, message=MESSAGES[reason].format(nodes=spec.nodes), final=True)
    if spec.rollout.canary and not config.has_http_routes:
        reason = ServingReason.NO_HTTP_ROUTES
        return NoModel(reason=reason, message=MESSAGES[reason], final=True)
    if _lacks_keda(deployment, config):
        reason = ServingReason.NO_SCALED_OBJECTS
        return NoModel(reason=reason, message=MESSAGES[reason], final=True)
    return None


def _lacks_keda(deployment: ModelDeployment, config: Config) -> bool:
    return autoscaler_kind(deployment) == SCALED_OBJECT and not config.has_scaled_objects


def _children_of_any_model(
    deployment: ModelDeployment, observed: Observed, config: Config
) -> Iterable[Manifest]:
    yield desired_service(deployment)
    yield desired_disruption_budget(deployment)
    yield desired_network_policy(deployment)
    autoscaler = desired_autoscaler(deployment, observed.children.keys())
    if autoscaler and not _lacks_keda(deployment, config):
        yield autoscaler


def _superfluous(
    deployment: ModelDeployment,
    model: ServedModel | NoModel,
    observed: Observed,
    children: Sequence[Manifest],
) -> Iterable[Ref]:
    """Yield an autoscaler that is not wanted any more, servers of the other kind, a canary that is over."""
    kept = {Ref.of(child) for child in children}
    if _may_be_asked(deployment, model, observed):
        kept |= observed.children.keys()
    wanted = {
        HTTP_ROUTE: deployment.spec.rollout.canary is not None,
        **{kind: kind == autoscaler_kind(deployment) for kind in AUTOSCALERS},
        "Deployment": deployment.spec.nodes == 1,
        "LeaderWorkerSet": deployment.spec.nodes > 1,
    }
    for ref, child in sorted(observed.children.items()):
        is_wanted = wanted.get(ref.kind, True) if child.component != CANARY else ref in kept
        if not is_wanted:
            yield ref


def _may_be_asked(deployment: ModelDeployment, model: ServedModel | NoModel, observed: Observed) -> bool:
    """Return whether a canary stays: its route has not let go of it, or there is nothing to compare with."""
    if deployment.spec.rollout.canary is None:
        return False
    route = observed.route
    asked = route and (server_name(deployment, CANARY) in route.weights or route.pending)
    return bool(asked) or isinstance(model, NoModel)
