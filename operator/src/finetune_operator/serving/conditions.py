"""The conditions of a ModelDeployment, from what was observed alone."""

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.conditions import Condition
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.serving.model import NoModel, ServedModel
from finetune_operator.serving.observed import Observed
from finetune_operator.serving.reasons import MESSAGES, Reason
from finetune_operator.serving.rollout import Rollout

# A server that crashed that often without ever being ready is not going to be.
_CRASHES = 3


def conditions_of(
    deployment: ModelDeployment, model: ServedModel | NoModel, rollout: Rollout | None, observed: Observed
) -> list[Condition]:
    """Return Available and Progressing, and kstatus' Reconciling and Stalled."""
    replicas, seen = deployment.spec.replicas, observed.deployment
    ready = seen.ready if seen else 0
    reason, message, stalled = _progress(replicas, model, rollout, seen)
    settled = reason in (Reason.SERVING, Reason.SCALED_TO_ZERO)
    available = ready >= replicas > 0
    return [
        Condition(
            type="Available",
            status="True" if available else "False",
            reason=Reason.SERVING if available else reason,
            message=MESSAGES[Reason.SERVING].format(ready=ready, replicas=replicas) if available else message,
        ),
        Condition(
            type="Progressing",
            status="False" if stalled or settled else "True",
            reason=reason,
            message=message,
            failure=stalled,
        ),
        _kstatus("Reconciling", not (stalled or settled), reason, message),
        _kstatus("Stalled", stalled, reason, message),
    ]


def phase_of(conditions: list[Condition]) -> str:
    """Return the phase, a column that nothing reads back."""
    *_, available, _, _, stalled = conditions
    if available.status == "True":
        return "Available"
    return "Failed" if stalled.status == "True" else str(available.reason)


def _progress(
    replicas: int, model: ServedModel | NoModel, rollout: Rollout | None, seen: ObservedDeployment | None
) -> tuple[str, str, bool]:
    """Return the reason and the message of the state, and whether waiting alone cannot help."""
    if isinstance(model, NoModel):
        return model.reason, model.message, model.final
    if replicas == 0:
        return Reason.SCALED_TO_ZERO, MESSAGES[Reason.SCALED_TO_ZERO], False
    updated, ready = (
        (seen.updated, seen.ready) if seen and seen.up_to_date else (0, seen.ready if seen else 0)
    )
    if rollout and rollout.rolled_back:
        message = MESSAGES[Reason.ROLLED_BACK].format(
            path=model.path, before=rollout.current.model, ready=ready, replicas=replicas
        )
        return Reason.ROLLED_BACK, message, True
    if seen and updated >= replicas and ready >= replicas:
        return Reason.SERVING, MESSAGES[Reason.SERVING].format(ready=ready, replicas=replicas), False
    if seen and seen.termination and seen.restarts and ready < replicas:
        code, cause = seen.termination.exit_code, seen.termination.sentence
        stalled = seen.restarts >= _CRASHES
        return Reason.CRASHING, MESSAGES[Reason.CRASHING].format(code=code, message=cause), stalled
    if seen and seen.overdue_since:
        return Reason.NOT_READY_IN_TIME, MESSAGES[Reason.NOT_READY_IN_TIME], True
    message = MESSAGES[Reason.LOADING].format(path=model.path, ready=ready, replicas=replicas)
    return Reason.LOADING, message, False


def _kstatus(type_: str, holds: bool, reason: str, message: str) -> Condition:
    return Condition(
        type=type_, status="True" if holds else "False", reason=reason, message=message, silent=True
    )
