"""The Fits condition: whether a manifest fits, and what to change when it does not."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from finetune_operator.api.base import ApiModel
from finetune_operator.core.capacity.changes import Change, nearest_changes
from finetune_operator.core.capacity.demand import Demand, FitsReason, first_exceeded, gigabytes
from finetune_operator.core.conditions import Condition, Status

M = TypeVar("M", bound=ApiModel)


def fits_condition(
    parent: M,
    demands_of: Callable[[M], Sequence[Demand]],
    changes_of: Callable[[Demand], Sequence[Change]],
) -> Condition:
    """Return the Fits condition. A change counts as one that fits when nothing lacks of the same any more."""
    demands = demands_of(parent)
    exceeded = first_exceeded(demands)
    if exceeded is None:
        return _condition(demands)
    lacking = exceeded.reason

    def fits(changed: M) -> bool:
        return not any(demand.exceeded and demand.reason == lacking for demand in demands_of(changed))

    return _condition(demands, nearest_changes(parent, changes_of(exceeded), fits))


def _condition(demands: Sequence[Demand], remedies: Sequence[str] = ()) -> Condition:
    """Return Fits: False with numbers and what to change, True, or Unknown where nothing is compared."""
    if exceeded := first_exceeded(demands):
        remedy = f": {', or '.join(remedies)}" if remedies else "; no change of one field makes it fit"
        return _fits("False", exceeded.reason, f"{exceeded.sentence}{_largest(exceeded)}{remedy}")
    if compared := [demand.sentence for demand in demands if demand.available is not None]:
        return _fits("True", FitsReason.FITS, "; ".join(compared))
    if demands:
        told = "; ".join(demand.sentence for demand in demands)
        return _fits("Unknown", FitsReason.NOT_COMPARED, f"{told}, and how much there is is not known")
    return _fits(
        "Unknown", FitsReason.SIZE_UNKNOWN, "The size of the model is not known: nothing is compared"
    )


def _fits(status: Status, reason: FitsReason, message: str) -> Condition:
    # Silent: what does not fit is stalled too, and that is said once.
    return Condition(type="Fits", status=status, reason=reason, message=message, silent=True)


def _largest(demand: Demand) -> str:
    """Return what takes most, where it is not all."""
    if len(demand.parts) == 1:
        return ""
    part = max(demand.parts, key=lambda name: demand.parts[name])
    return f" ({part}: {gigabytes(demand.parts[part])})"
