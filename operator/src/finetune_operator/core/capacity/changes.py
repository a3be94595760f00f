"""The nearest changes of one field that make a manifest fit: each is tried, and must be valid."""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from pydantic import ValidationError

from finetune_operator.api.base import ApiModel

M = TypeVar("M", bound=ApiModel)

# The nearest, and another one for whom that does not suit.
_SUGGESTIONS = 2


@dataclass(frozen=True, kw_only=True)
class Change:
    """A field of the spec, by its path as in YAML, and values to try, the nearest first."""

    path: str
    values: Iterable[Any]


def nearest_changes(parent: M, changes: Iterable[Change], fits: Callable[[M], bool]) -> list[str]:
    """Return what to do, such as "set export.dtype to float8": of every field the first value that fits."""
    found = (sentence for change in changes if (sentence := _first_that_fits(parent, change, fits)))
    return list(islice(found, _SUGGESTIONS))


def doublings(value: int, limit: int) -> Iterator[int]:
    """Yield twice the value, four times, and so on up to a limit."""
    while 0 < (value := value * 2) <= limit:
        yield value


def halvings(value: int) -> Iterator[int]:
    """Yield half the value, a quarter, and so on down to 1."""
    while (value := value // 2) >= 1:
        yield value


def _first_that_fits(parent: M, change: Change, fits: Callable[[M], bool]) -> str | None:
    for value in change.values:
        changed = _with(parent, change.path, value)
        if changed is not None and fits(changed):
            return f"set {change.path} to {value}"
    return None


def _with(parent: M, path: str, value: Any) -> M | None:
    """Return the parent with a field of its spec set; None where that breaks a rule of the API."""
    document = copy.deepcopy(parent.to_dict())
    *owners, name = path.split(".")
    target = document["spec"]
    for owner in owners:
        target = target.setdefault(owner, {})
    target[name] = value
    try:
        return type(parent).model_validate(document)
    except ValidationError:
        return None
