"""Whether a manifest fits, and what to change when it does not."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from finetune_operator.api.base import ApiModel
from finetune_operator.core.capacity.fit import Demand, first_exceeded, fits_condition
from finetune_operator.core.capacity.nearest import Change, nearest_changes
from finetune_operator.core.conditions import Condition

M = TypeVar("M", bound=ApiModel)


def judge(
    parent: M,
    demands_of: Callable[[M], Sequence[Demand]],
    changes_of: Callable[[Demand], Sequence[Change]],
) -> Condition:
    """Return the Fits condition. A change counts as one that fits when nothing lacks of the same any more."""
    demands = demands_of(parent)
    exceeded = first_exceeded(demands)
    if exceeded is None:
        return fits_condition(demands)
    lacking = exceeded.reason

    def fits(changed: M) -> bool:
        return not any(demand.exceeded and demand.reason == lacking for demand in demands_of(changed))

    return fits_condition(demands, nearest_changes(parent, changes_of(exceeded), fits))
