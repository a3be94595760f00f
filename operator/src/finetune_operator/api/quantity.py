"""Kubernetes quantities.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from decimal import Decimal

_SUFFIXES = {
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
}


def parse_quantity(quantity: str | float) -> Decimal:
    """Return the amount. Raises decimal.InvalidOperation for what is no quantity."""
    text = str(quantity)
    suffix = next((suffix for suffix in (text[-2:], text[-1:]) if suffix in _SUFFIXES), "")
    return Decimal(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, 1)


def parse_bytes(quantity: str | int) -> int:
    """Return whole bytes; the API has checked the form."""
    return int(parse_quantity(quantity))
