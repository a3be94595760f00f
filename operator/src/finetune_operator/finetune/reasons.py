"""Reasons of the conditions, beside the messages that go with them."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a condition is as it is; the reasons of failures come from the stages themselves."""

    PENDING = "Pending"
    DONE = "Done"
    BACKING_OFF = "BackingOff"
    SUSPENDED = "Suspended"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    RESTARTS_EXHAUSTED = "RestartsExhausted"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    COMPLETE = "Complete"


MESSAGES = {
    Reason.PENDING: "Waits for the {stage} stage",
    Reason.SUSPENDED: "Stopped: the pods are gone, what was saved stays in the volume",
    Reason.SKIPPED: "Not asked for: {field}",
}
