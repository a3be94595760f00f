"""What is needed against what is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class FitsReason(StrEnum):
    """Why something fits, or does not."""

    FITS = "Fits"
    TRAINING_MEMORY = "TrainingNeedsMoreMemory"
    CONVERSION_MEMORY = "ConversionNeedsMoreMemory"
    EVALUATION_MEMORY = "EvaluationNeedsMoreMemory"
    SERVING_MEMORY = "ServingNeedsMoreMemory"
    STORAGE = "StorageTooSmall"
    TOO_MANY_GPUS = "MoreGPUsThanANode"
    SIZE_UNKNOWN = "SizeUnknown"
    NOT_COMPARED = "NotCompared"


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Bytes that one thing needs, by what takes them, against the bytes that are there."""

    subject: str
    """Starts a sentence, such as "Training"."""

    parts: Mapping[str, int]
    place: str
    """Where the bytes are, such as "each GPU"."""

    available: int | None = None
    """None where nobody says how much there is: then it is told, and not compared."""

    reason: FitsReason
    """Why it does not fit, when it does not."""

    @property
    def needed(self) -> int:
        """All bytes together."""
        return sum(self.parts.values())

    @property
    def exceeded(self) -> bool:
        """Whether it is known not to fit."""
        return self.available is not None and self.needed > self.available

    def amount(self, count: int) -> str:
        """Return so much of it, for people."""
        return gigabytes(count)

    @property
    def sentence(self) -> str:
        """The numbers, for people."""
        there = "" if self.available is None else f"the {gigabytes(self.available)} of "
        return f"{self.subject} needs {gigabytes(self.needed)} of {there}{self.place}"


def gigabytes(count: int) -> str:
    """Return bytes in GB of 10^9 bytes, as GPUs are sold and models are published; what is small in MB."""
    size = count / 1e9
    if size < 0.1:
        return f"{count / 1e6:.0f} MB"
    return f"{size:,.0f} GB" if size >= 10 else f"{size:.1f} GB"


def first_exceeded(demands: Sequence[Demand]) -> Demand | None:
    """Return the first demand that is known not to fit."""
    return next((demand for demand in demands if demand.exceeded), None)
