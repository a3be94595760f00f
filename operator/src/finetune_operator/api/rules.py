"""A cross-field rule: CEL in the CRD, and the same CEL evaluated before anything is sent."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import cel


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One entry of `x-kubernetes-validations`.

    `rule` is a CEL expression over `self` (and `oldSelf`, which makes it a transition rule). `problem` says
    what is wrong and `remedy` what to do; `field` is the field to blame, relative to the object that carries
    the rule ("training.steps"), or empty for the object itself.
    """

    rule: str
    problem: str
    remedy: str
    field: str = ""

    @property
    def is_transition(self) -> bool:
        """True when the rule compares with the object as it was, and so has no meaning for a new one."""
        return "oldSelf" in self.rule

    def to_crd(self) -> dict[str, str]:
        """Return the entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": f"{self.problem}; {self.remedy}"}
        return entry | ({"fieldPath": f".{self.field}"} if self.field else {})


def violated(rules: Iterable[Rule], document: dict[str, Any]) -> Iterator[Rule]:
    """Yield the rules that an object, with its defaults filled in, breaks; transition rules never are."""
    for rule in rules:
        if not rule.is_transition and not _program(rule.rule).execute({"self": document}):
            yield rule


@cache
def _program(expression: str) -> Any:
    return cel.compile(expression)
