"""A cross-field rule: CEL in the CRD, and the same CEL evaluated before anything is sent."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from finetune_operator.api import cel_engine
from finetune_operator.api.quantity import parse_quantity


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
    in_schema: bool = True
    """False for what `finetune validate` and the operator alone say: the oldest API server cannot afford it.
    Kubernetes 1.31 knows no bound of an int-or-string, and refuses a CRD that compares quantities."""

    @property
    def is_for_the_server(self) -> bool:
        """True for what the API server alone can tell: what an object was before."""
        return "oldSelf" in self.rule

    @cached_property
    def program(self) -> Any:
        """The rule, compiled."""
        return cel_engine.compile(self.rule)

    def to_crd(self) -> dict[str, str]:
        """Return the entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": f"{self.problem}; {self.remedy}"}
        return entry | ({"fieldPath": f".{self.field}"} if self.field else {})


def violated(rules: Iterable[Rule], document: dict[str, Any]) -> Iterator[Rule]:
    """Yield the rules that an object, with its defaults filled in, breaks; those for the server never are."""
    for rule in rules:
        if not rule.is_for_the_server and not rule.program.execute(_context(document)):
            yield rule


def _context(document: dict[str, Any]) -> Any:
    """Return what an expression reads, with what CEL has in Kubernetes alone.

    https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-quantity-library
    """
    context = cel_engine.Context()
    context.add_variable("self", document)
    context.add_function("quantity", lambda text: float(parse_quantity(text)))
    context.add_function("compareTo", lambda one, other: (one > other) - (one < other))
    return context
