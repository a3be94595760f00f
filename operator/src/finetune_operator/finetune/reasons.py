"""Reasons of the conditions, beside the messages that go with them."""

from enum import StrEnum

from finetune_operator.core.labels import RETRIED_AT


class JobReason(StrEnum):
    """Why a condition is as it is; the reasons of failures come from the stages themselves."""

    PENDING = "Pending"
    DONE = "Done"
    BACKING_OFF = "BackingOff"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    RESTARTS_EXHAUSTED = "RestartsExhausted"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    EVALUATION_INVALID = "EvaluationInvalid"
    JOB_NOT_FOUND = "FineTuneJobNotFound"
    ADAPTER_NOT_TRAINED = "AdapterNotTrained"
    JOB_FAILED = "FineTuneJobFailed"
    ADAPTER_ELSEWHERE = "AdapterInAnotherVolume"
    ADAPTER_MISMATCH = "AdapterMismatch"
    COMPLETE = "Complete"
    NO_FAILURE = "NoFailure"
    RESTARTED = "Restarted"


MESSAGES = {
    JobReason.PENDING: "Waits for the {stage} stage",
    JobReason.SUSPENDING: "Stops, and waits: {why}",
    JobReason.SUSPENDED: "Stopped: the pods are gone, what was saved stays in the volume",
    JobReason.NO_FAILURE: "No attempt has failed",
    JobReason.RESTARTED: "Restarts taken: {taken} of {allowed}",
    JobReason.FAILED: "Waiting alone does not help: the condition Failed says why",
    JobReason.JOB_NOT_FOUND: "lora.from: waits for FineTuneJob {job}, which is not there",
    JobReason.ADAPTER_NOT_TRAINED: "lora.from: waits for FineTuneJob {job} to be Trained: {standing}",
    JobReason.JOB_FAILED: "lora.from: FineTuneJob {job} failed: {message}",
    JobReason.ADAPTER_ELSEWHERE: "lora.from: the adapter of FineTuneJob {job} is in the volume {theirs}, and "
    "this job's is {ours}; give both the same storage.claimName",
    JobReason.ADAPTER_MISMATCH: "lora.from: {field} is {own}, and FineTuneJob {job} has {theirs}; {remedy}",
    JobReason.SKIPPED: "Not asked for: {field}",
}

CHANGED_WHILE_IT_RUNS = "; {field} has changed since it began, as which it goes on: {then}"
CHANGED_BEFORE_IT_ENDED = "{field} was changed after it had begun, too late for it"

UNREAD_RETRY = (
    f". The annotation {RETRIED_AT} is {{text!r}}, which is no time: `finetune retry` sets it, to the "
    "lastTransitionTime of Failed"
)
