"""What the gate's checks have in common."""

from finetune_converter.failure import Failure, Reason


def failed(message: str) -> Failure:
    """A check that did not hold: nothing is published."""
    return Failure(
        Reason.VERIFICATION_FAILED,
        message,
        "Nothing was published. Merge again, from the base and adapter it names",
    )
