"""How a frozen base is kept and computed with: run.json's training.frozenDtype and frozenArithmetic,
and parallelism.frozenWeights."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class FrozenSettings:
    """`precision` is training.precision; FP8 is in blocks of 128x128 with a scale each."""

    dtype: Literal["precision", "float8"] = "precision"
    arithmetic: Literal["precision", "float8", "float8WithHead"] = "precision"
    """Of products with weights in FP8: each dequantised for each use, or the activations quantised too; and
    whether the output head, which DeepSeek-V3 has in bfloat16, is one of these weights."""
    resident: bool = False
    """Whether FSDP leaves all of the base where it is, and divides only what is trained."""

    @property
    def in_float8(self) -> bool:
        """Whether the weights that DeepSeek-V3 has in FP8 are kept so."""
        return self.dtype == "float8"

    @property
    def computed_in_float8(self) -> bool:
        """Whether products with them are in FP8, too."""
        return self.arithmetic != "precision"

    @property
    def head_in_float8(self) -> bool:
        """Whether the output head is kept and multiplied so."""
        return self.arithmetic == "float8WithHead"


AS_PRECISION = FrozenSettings()
