"""Dropout of the routed experts' inputs, of which each rank has another number.

`F.dropout` takes as many random numbers as there are values: where the tokens of tensor-parallel ranks go to
experts on several ranks, these would take different numbers, and from then on drop different values of what
has to be the same on all of them. Here a call takes two random numbers, whatever the shape, and each value's
fate is a hash of them and its place. Elementwise, so that it compiles; computed again, it is the same.
"""

import torch
import torch.distributed as dist

# The finaliser of MurmurHash3 (Austin Appleby, public domain), as signed 32-bit numbers.
_MULTIPLIERS = (0x85EBCA6B - 2**32, 0xC2B2AE35 - 2**32)
_SHIFTS = (16, 13)
# Odd, about 2**32 / the golden ratio: consecutive ranks' seeds are far apart.
_RANK_STRIDE = 0x9E3779B1


def hashed_dropout(x: torch.Tensor, probability: float) -> torch.Tensor:
    """`x` (rows, columns) with each value dropped with `probability`, other ones on each rank."""
    seeds = torch.randint(-(2**31), 2**31, (2, 1), dtype=torch.int32, device=x.device)
    seeds = seeds + _this_rank() * _RANK_STRIDE % 2**31
    rows, columns = (torch.arange(size, dtype=torch.int32, device=x.device) for size in x.shape)
    hashed = _hash(_hash(rows ^ seeds[0]).unsqueeze(1) + _hash(columns ^ seeds[1]))
    kept = hashed >= int(probability * 2**32) - 2**31
    return torch.where(kept, x / (1 - probability), 0)


def _hash(values: torch.Tensor) -> torch.Tensor:
    """int32, mixed so that each bit depends on every one of `values`; products wrap around."""
    for multiplier, shift in zip(_MULTIPLIERS, _SHIFTS, strict=True):
        values = (values ^ _shifted(values, shift)) * multiplier
    return values ^ _shifted(values, 16)


def _shifted(values: torch.Tensor, bits: int) -> torch.Tensor:
    return (values >> bits) & (2 ** (32 - bits) - 1)  # >> alone would keep the sign


def _this_rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0
