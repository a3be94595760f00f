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
# And when false: booleans of core/v1 that are no pointers. Others may stand for true when they are not there.
_EMPTY_WHEN_FALSE = {"readOnly", "hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty"}


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
        return _is_left_out(name, desired)
    if name in _MAY_GROW and isinstance(live[name], list):
        return all(any(covers(item, wanted) for item in live[name]) for wanted in desired)
    return covers(live[name], desired)


def _is_left_out(name: str, desired: Any) -> bool:
    return desired in _EMPTY or (desired is False and name in _EMPTY_WHEN_FALSE)


def dropped(live: Any, desired: Any, path: str = "") -> list[str]:
    """Return the fields of a desired value that a live one has nothing of, by their paths.

    What a feature gate has turned off the API server drops in silence, as it does what it does not know of
    an object that is created: https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
    """
    if isinstance(desired, dict):
        return [each for name in desired for each in _dropped_field(name, live, desired[name], path)]
    if isinstance(desired, list) and isinstance(live, list):
        return [each for number in range(len(desired)) for each in _dropped_item(number, live, desired, path)]
    return []


def _dropped_field(name: str, live: Any, desired: Any, path: str) -> list[str]:
    here = f"{path}.{name}".removeprefix(".")
    if not isinstance(live, dict) or name not in live:
        return [] if _is_left_out(name, desired) else [here]
    return dropped(live[name], desired, here)


def _dropped_item(number: int, live: list[Any], desired: list[Any], path: str) -> list[str]:
    """Compare an item with the live one of its name, of several with the most alike, else of its place."""
    wanted = desired[number]
    name = wanted.get("name") if isinstance(wanted, dict) else None
    here = f"{path}[{number if name is None else name}]"
    alike = live[number : number + 1] if name is None else [item for item in live if item.get("name") == name]
    return min((dropped(item, wanted, here) for item in alike), key=len, default=[here])


def _amount(value: object) -> Decimal | None:
    """Return the amount of a quantity: 1024Mi and 1Gi are the same, and so are 8 and "8"."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return parse_quantity(value)
    except InvalidOperation:
        return None
