"""What the gate measured of tensors, summed by kind for verification.json."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One tensor, or all of a kind such as self_attn.o_proj.

    Neither adapted nor converted, it is the base's, byte for byte.
    """

    name: str
    adapted: bool = False
    converted: bool = False
    tensors: int = 1
    elements: int = 0
    update_square: float = 0.0
    """Sum of squares of what the adapter adds."""
    error_square: float = 0.0
    """Sum of squares of merged - (base + update): what the dtype's rounding costs."""
    greatest_error: float = 0.0

    def with_band(self, before: torch.Tensor, after: torch.Tensor, error: torch.Tensor) -> "Measured":
        """With some rows more."""
        return replace(
            self,
            elements=self.elements + error.numel(),
            update_square=self.update_square + _square(after - before),
            error_square=self.error_square + _square(error),
            greatest_error=max(self.greatest_error, float(error.abs().max())),
        )

    def with_tensor(self, other: "Measured") -> "Measured":
        """Of both."""
        return replace(
            self,
            tensors=self.tensors + other.tensors,
            elements=self.elements + other.elements,
            update_square=self.update_square + other.update_square,
            error_square=self.error_square + other.error_square,
            greatest_error=max(self.greatest_error, other.greatest_error),
        )

    def to_json(self) -> dict[str, float | int]:
        """RMS of the rounding error and of the update, and the greatest error."""
        count = max(1, self.elements)
        return {
            "tensors": self.tensors,
            "updateRms": math.sqrt(self.update_square / count),
            "errorRms": math.sqrt(self.error_square / count),
            "greatestError": self.greatest_error,
        }


def _square(values: torch.Tensor) -> float:
    """Sum of squares."""
    return float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2


def tensor_report(measured: Iterable[Measured]) -> dict[str, Any]:
    """`tensors` of verification.json."""
    measured = [*measured]
    kinds: dict[str, list[Measured]] = {}
    for one in measured:
        if one.adapted or one.converted:
            kinds.setdefault(kind_of(one.name), []).append(one)
    return {
        "identical": sum(not one.adapted and not one.converted for one in measured),
        "adapted": sum(one.adapted for one in measured),
        "converted": sum(one.converted for one in measured),
        "kinds": {kind: reduce(Measured.with_tensor, ones).to_json() for kind, ones in sorted(kinds.items())},
    }


def kind_of(name: str) -> str:
    """A tensor's name without layer and expert numbers."""
    plain = re.sub(r"^model\.|\.weight$", "", name)
    return re.sub(r"(^|\.)\d+(?=\.|$)", "", plain).removeprefix("layers.")
