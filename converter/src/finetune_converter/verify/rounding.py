"""How far a right merge may be from base + update: derived from the arithmetic, for any order of the sums.

Let w be the base's value, u = s * sum_k b_k a_k the update of rank r, v = w + u, and eps = 2^-24 fp32's unit
roundoff. Merge and gate both compute v in fp32, each in an order of its own:

- a sum of r products, in any order, errs by at most r * eps * sum |b_k a_k| (Higham, Accuracy and Stability
  of Numerical Algorithms, 2nd ed., (3.5)), and sum |b_k a_k| <= |b| |a| (Cauchy-Schwarz). The scaling rounds
  once more, and s itself is rounded to fp32: (r + 2) * eps * s |b| |a|;
- dequantising w rounds once, the sum v once: eps * (|w| + |v|).

They are apart by twice that: E = 2 eps ((r + 2) s |b| |a| + |w| + |v|). Rounding to the stored type then errs
by half a unit in the last place, relative to v, or by half the smallest step below its normal numbers. FP8
divides by the block's scale first (eps), and the scale is stored in a type of its own (its half unit).
"""

import torch

EPS = 2.0**-24
HALF_UNIT = {"F64": EPS, "F32": EPS, "F16": 2.0**-11, "BF16": 2.0**-8, "F8_E4M3": 2.0**-4}
"""Half a unit in the last place relative to the value, at worst: 2^-(bits of the significand)."""
_HALF_STEP = {"F16": 2.0**-25, "F8_E4M3": 2.0**-10}
"""Half of the smallest step, where a type has subnormal numbers that weights reach."""
E4M3_MAX = 448.0


def sums_apart(before: torch.Tensor, after: torch.Tensor, products: torch.Tensor, rank: int) -> torch.Tensor:
    """E of the header, element by element. products: s |b| |a|."""
    return 2 * EPS * ((rank + 2) * products + before.abs() + after.abs())


def scaled_to(
    norms: torch.Tensor, rows: torch.Tensor, apart: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """DoRA's: each row scaled to its norm, and how far another who computes it may be.

    With v a row and e its error, |n v'/|v'| - n v/|v|| <= n (e + |v| |e|/|v|) / (|v| - |e|), norms in the
    middle; the quotient and the product are rounded by both (2 eps each).
    """
    lengths, errors = (torch.linalg.vector_norm(part, dim=1, dtype=torch.float64) for part in (rows, apart))
    scaled = rows * (norms / lengths).float().unsqueeze(1)
    gain = (norms.abs() / (lengths - errors).clamp(min=0)).unsqueeze(1)
    moved = gain * (apart + rows.abs() * (errors / lengths).unsqueeze(1))
    return scaled, (moved + 4 * EPS * scaled.abs()).float()


def rounded_apart(
    after: torch.Tensor, apart: torch.Tensor, dtype: str, scales: torch.Tensor | None, scale_dtype: str | None
) -> torch.Tensor:
    """How far a stored value may be from `after`. scales: of FP8, of each element."""
    relative = HALF_UNIT[dtype]
    if scale_dtype is not None:
        relative += EPS + (0.0 if scale_dtype == "F8_E8M0" else HALF_UNIT[scale_dtype])
    bound = apart + (after.abs() + apart) * relative
    step = _HALF_STEP.get(dtype, 0.0)
    return bound + (step if scales is None else step * scales)


def scales_are_fresh(
    scales: torch.Tensor,
    after: torch.Tensor,
    apart: torch.Tensor,
    *,
    block: tuple[int, int],
    power_of_two: bool,
) -> bool:
    """Whether stored scales are those of `after`: the block's greatest magnitude / 448.

    A greater one would lose small values in its steps, a smaller one clip great ones. The magnitude is known
    to within `apart`, and the quotient to eps and the half unit of the type the scale is stored in, at worst
    bfloat16's. A power of two is the least that is not below the quotient.
    """
    greatest, slack = _block_maxima(after.abs(), block), _block_maxima(apart, block)
    low, high = (greatest - slack) / E4M3_MAX, (greatest + slack) / E4M3_MAX
    # A block of zeros has a scale of 1, one whose quotient is below fp32's normal numbers the least of them.
    tiny = torch.finfo(torch.float32).tiny
    if power_of_two:
        fits = (scales >= low * (1 - 4 * EPS)) & (scales / 2 < high.clamp(min=tiny) * (1 + 4 * EPS))
    else:
        unit = HALF_UNIT["BF16"]
        fits = (scales >= low * (1 - unit)) & (scales <= high.clamp(min=tiny) * (1 + unit))
    return bool((fits | ((greatest == 0) & (scales == 1))).all())


def _block_maxima(values: torch.Tensor, block: tuple[int, int]) -> torch.Tensor:
    """[ceil(rows / block rows), ceil(columns / block columns)] of non-negative values."""
    rows, columns = values.shape
    padded = torch.nn.functional.pad(values, (0, -columns % block[1], 0, -rows % block[0]))
    rows, columns = padded.shape
    return padded.view(rows // block[0], block[0], columns // block[1], block[1]).amax((1, 3))
