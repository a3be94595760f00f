"""What the gate's checks have in common."""

from finetune_converter.failure import Failure, Reason

_MERGE_AGAIN = "Nothing was published. Merge again, from the base and adapter it names"


def failed(message: str, remedy: str = _MERGE_AGAIN) -> Failure:
    """A check that did not hold: nothing is published."""
    return Failure(message, Reason.VERIFICATION_FAILED, remedy)
