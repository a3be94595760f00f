"""What a merged model has to reach: `>= 0.9`, `<= 12.5`, `no worse than base by 0.01`, `better than base`."""

import re

_ABSOLUTE = re.compile(r"^([<>]=) *([0-9.]+)$")
_OF_THE_BASE = re.compile(r"^(no worse|better) than base(?: by ([0-9.]+))?$")
# Shares are quotients of whole numbers: what equals the bound in print is not below it.
_ROUNDING = 1e-9


def is_met(required: str, *, base: float, tuned: float, lower_is_better: bool) -> bool:
    """Whether `tuned` reaches what is required. Raises ValueError for what is no requirement."""
    if absolute := _ABSOLUTE.match(required):
        bound = float(absolute[2])
        return tuned >= bound - _ROUNDING if absolute[1] == ">=" else tuned <= bound + _ROUNDING
    relative = _OF_THE_BASE.match(required)
    if relative is None:
        raise ValueError(f"{required!r} is no requirement")
    gain, by = (base - tuned if lower_is_better else tuned - base), float(relative[2] or 0)
    if relative[1] == "no worse":
        return gain >= -by - _ROUNDING
    return gain >= by - _ROUNDING if by else gain > _ROUNDING
