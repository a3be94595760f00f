"""Whether an object is as we applied it: others may add to it, and may not change what is ours.

The API server fills in defaults and writes quantities in its own way, and admission adds variables, volumes
and tolerations.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

from finetune_operator.api.quantity import parse_quantity
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.child import ObservedChild

# Lists of pods that admission webhooks add to; every other list is as we wrote it.
_MAY_GROW = {
    "containers",
    "initContainers",
    "env",
    "tolerations",
    "volumeMounts",
    "volumes",
    "imagePullSecrets",
}
# What the API server leaves out when it is empty.
_EMPTY: tuple[object, ...] = ("", None, [], {})


def has_drifted(live: ObservedChild, desired: Manifest) -> bool:
    """Return whether somebody changed what we applied: labels, and the spec where it is kept."""
    if not covers(live.labels, desired["metadata"].get("labels", {})):
        return True
    return live.spec is not None and not covers(live.spec, desired["spec"])


def covers(live: Any, desired: Any) -> bool:
    """Return whether a live value has everything that the desired one asks for."""
    if isinstance(desired, dict):
        return isinstance(live, dict) and all(_field_covers(name, live, desired[name]) for name in desired)
    if isinstance(desired, list):
        return isinstance(live, list) and len(live) == len(desired) and all(map(covers, live, desired))
    return live == desired or _amount(live) == _amount(desired) is not None


def _field_covers(name: str, live: Manifest, desired: Any) -> bool:
    if name not in live:
        return desired in _EMPTY
    if name in _MAY_GROW and isinstance(live[name], list):
        return all(any(covers(item, wanted) for item in live[name]) for wanted in desired)
    return covers(live[name], desired)


def _amount(value: object) -> Decimal | None:
    """Return the amount of a quantity: 1024Mi and 1Gi are the same, and so are 8 and "8"."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return parse_quantity(value)
    except InvalidOperation:
        return None
