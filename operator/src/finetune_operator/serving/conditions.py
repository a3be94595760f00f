"""The conditions of a ModelDeployment, from its step alone; and the phase, which nothing reads back."""

from finetune_operator.core.conditions import Condition
from finetune_operator.serving.model import NoModel
from finetune_operator.serving.reasons import MESSAGES, ServingReason
from finetune_operator.serving.step import (
    Crashing,
    Loading,
    NotReadyInTime,
    RolledBack,
    ScaledToZero,
    Serving,
    Step,
    Trying,
)


def conditions_of(
    step: Step, *, ready: int, replicas: int, adapters: Condition | None = None
) -> list[Condition]:
    """Return Available and Progressing, and kstatus' Reconciling and Stalled.

    Available says what answers, or why nothing does. Of the other three each says its own: what goes on,
    whether all is as the spec asks, and why a person has to step in. adapters: whether all are there.
    """
    reason, message, stalled = _reason_of(step), _message_of(step, replicas), _is_stalled(step)
    settled = isinstance(step, Serving | ScaledToZero)
    if adapters and adapters.status == "False":
        stalled, settled = adapters.failure, False
        reason, message = adapters.reason, adapters.message
    progressing, reconciling = _of_what_goes_on(message, stalled=stalled, settled=settled)
    return [
        _available(reason, message, ready, replicas),
        Condition(
            type="Progressing",
            status="False" if stalled or settled else "True",
            reason=reason,
            message=progressing,
            event=message,  # who follows the events wants to know what happened
            failure=stalled,
        ),
        _kstatus("Reconciling", not (stalled or settled), reason, reconciling),
        _kstatus("Stalled", stalled, reason, message if stalled else "Nobody has to step in"),
    ]


def deployment_phase(conditions: list[Condition]) -> str:
    """Return the phase: what a person wants to know in one word."""
    *_, available, _, _, stalled = conditions
    if available.status == "True":
        return "Available"
    return "Failed" if stalled.status == "True" else str(available.reason)


def _available(reason: str, message: str, ready: int, replicas: int) -> Condition:
    """Return Available: what serves an older model, or the version before, answers too."""
    if not ready >= replicas > 0:
        return Condition(type="Available", status="False", reason=reason, message=message)
    answering = MESSAGES[ServingReason.SERVING].format(ready=ready, replicas=replicas)
    return Condition(type="Available", status="True", reason=ServingReason.SERVING, message=answering)


def _reason_of(step: Step) -> str:
    match step:
        case NoModel(reason=reason):
            return reason
        case ScaledToZero():
            return ServingReason.SCALED_TO_ZERO
        case Loading(waiting=waiting):
            return ServingReason.WAITING if waiting else ServingReason.LOADING
        case Serving():
            return ServingReason.SERVING
        case Crashing():
            return ServingReason.CRASHING
        case NotReadyInTime():
            return ServingReason.NOT_READY_IN_TIME
        case RolledBack(why=why):
            return ServingReason.CANARY_FAILED if why else ServingReason.ROLLED_BACK
        case Trying():
            return ServingReason.CANARY


def _message_of(step: Step, replicas: int) -> str:
    match step:
        case NoModel(message=message):
            return message
        case ScaledToZero():
            return MESSAGES[ServingReason.SCALED_TO_ZERO]
        case Loading(ready=ready, waiting=why) if why:
            return MESSAGES[ServingReason.WAITING].format(why=why.sentence, ready=ready, replicas=replicas)
        case Loading(path=path, ready=ready):
            return MESSAGES[ServingReason.LOADING].format(path=path, ready=ready, replicas=replicas)
        case Serving(ready=ready):
            return MESSAGES[ServingReason.SERVING].format(ready=ready, replicas=replicas)
        case Crashing(end=end):
            return MESSAGES[ServingReason.CRASHING].format(code=end.exit_code, message=end.sentence)
        case NotReadyInTime(waiting=why):
            return MESSAGES[ServingReason.NOT_READY_IN_TIME].format(
                why=why.sentence if why else "see the pod's log"
            )
        case RolledBack(path=path, before=before, ready=ready, why=given_up):
            message = MESSAGES[ServingReason.CANARY_FAILED if given_up else ServingReason.ROLLED_BACK]
            return message.format(path=path, before=before, ready=ready, replicas=replicas, why=given_up)
        case Trying(path=path, before=before, weight=weight, why=awaited):
            message = MESSAGES[ServingReason.CANARY]
            return message.format(path=path, weight=weight, before=before, why=awaited)


def _is_stalled(step: Step) -> bool:
    """Return whether waiting alone cannot help."""
    match step:
        case NoModel(final=final):
            return final
        case Crashing(is_hopeless=hopeless):
            return hopeless
        case _:
            return isinstance(step, NotReadyInTime | RolledBack)


def _of_what_goes_on(message: str, *, stalled: bool, settled: bool) -> tuple[str, str]:
    """Return what Progressing and Reconciling say."""
    if stalled:
        return (
            "Nothing goes on: the condition Stalled says why",
            "Waits for a change of the spec or of the model",
        )
    if settled:
        return "Nothing is left to be rolled out", "All is as the spec asks"
    return message, "Not yet as the spec asks: the condition Progressing says why"


def _kstatus(type_: str, holds: bool, reason: str, message: str) -> Condition:
    return Condition(
        type=type_, status="True" if holds else "False", reason=reason, message=message, silent=True
    )
